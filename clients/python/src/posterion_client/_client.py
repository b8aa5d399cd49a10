"""The blocking client."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, overload

import httpx

from posterion_client._address import is_this_machine, resolve_url
from posterion_client._catalog import (
    ModelCard,
    ModelVersion,
    ServiceInfo,
    read_card,
    read_cards,
    read_service,
    read_versions,
)
from posterion_client._encoding import Encoding
from posterion_client._errors import PosterionError
from posterion_client._exchange import Call, document_of, error_of_failure
from posterion_client._fields import Node
from posterion_client._refusals import error_of_response
from posterion_client._request import Indexed, PredictOptions, Target, chunks
from posterion_client._results import Prediction
from posterion_client._retry import Attempts, Pacer, RetryPolicy, SystemPacer
from posterion_client._session import (
    CONNECTION_LIMITS,
    DEFAULT_TIMEOUT,
    USER_AGENT,
    Question,
    Session,
    only_one,
    raise_first,
    sort_structures,
)
from posterion_client._structure import Structure, as_structure

if TYPE_CHECKING:
    from ase import Atoms
    from typing_extensions import Self


class Client:
    """Asks a Posterion service for energies, forces and their uncertainty; blocking.

    Connections are kept open and shared; one client may be used from several threads. Use it
    as a context manager, or call `close`.

    Args:
        url: Address of the service; default is the environment variable ``POSTERION_URL``,
            then ``http://127.0.0.1:8000``.
        model: Model meant where a call names none; default is the service's.
        version: Version, digest or alias of ``model``.
        pin: Whether each model must keep answering with the sample set it answered with
            first; a change then raises `ModelChanged`. Default: only with ``version``.
        encoding: ``msgpack`` (raw arrays), or ``json``.
        timeout: Time limits of each attempt: connect 5 s, read 60 s.
        retry: When failed requests are repeated.
        headers: Headers sent with every request, e.g. ``Authorization``.
        transport: Carries the requests; default is a pooled HTTP transport.
        pacer: Clock, sleep and chance of the retries; default is the machine's.

    Raises:
        InvalidArgument: If a setting is wrong.
    """

    def __init__(  # noqa: PLR0913 - every setting is a keyword with a default
        self,
        url: str | None = None,
        *,
        model: str | None = None,
        version: str | None = None,
        pin: bool | None = None,
        encoding: Encoding = "msgpack",
        timeout: httpx.Timeout = DEFAULT_TIMEOUT,
        retry: RetryPolicy | None = None,
        headers: Mapping[str, str] | None = None,
        transport: httpx.BaseTransport | None = None,
        pacer: Pacer | None = None,
    ) -> None:
        self._session = Session(
            url=resolve_url(url),
            target=Target(model=model, version=version),
            pin=version is not None if pin is None else pin,
            encoding=encoding,
            timeout=timeout,
        )
        self._retry = retry or RetryPolicy()
        self._pacer = pacer or SystemPacer()
        self._http = httpx.Client(
            headers={"User-Agent": USER_AGENT, **(headers or {})},
            limits=CONNECTION_LIMITS,
            transport=transport,
            trust_env=not is_this_machine(self._session.url),
        )

    @property
    def url(self) -> str:
        """Address of the service."""
        return self._session.url

    def predict(
        self,
        structure: "Structure | Atoms",
        *,
        options: PredictOptions | None = None,
        model: str | None = None,
        version: str | None = None,
        digest: str | None = None,
    ) -> Prediction:
        """Ask about one structure.

        Args:
            structure: A `Structure` or an ASE ``Atoms`` object.
            options: What to compute; default is energy, forces and uncertainty.
            model: Model to ask; default is the client's.
            version: Version, digest or alias of the model.
            digest: Sample set that must answer, e.g. ``prediction.model.digest``.

        Raises:
            StructureError: If the structure cannot be evaluated.
            PosterionError: If the request fails; see the tree in ``_errors``.
        """
        asked = [Indexed(0, as_structure(structure))]
        question = self._session.question(
            model=model, version=version, options=options, digest=digest
        )
        return only_one(self._ask(question, asked))

    @overload
    def predict_many(
        self,
        structures: "Sequence[Structure | Atoms]",
        *,
        on_error: Literal["raise"] = "raise",
        options: PredictOptions | None = None,
        model: str | None = None,
        version: str | None = None,
        digest: str | None = None,
    ) -> list[Prediction]: ...

    @overload
    def predict_many(
        self,
        structures: "Sequence[Structure | Atoms]",
        *,
        on_error: Literal["return"],
        options: PredictOptions | None = None,
        model: str | None = None,
        version: str | None = None,
        digest: str | None = None,
    ) -> list[Prediction | PosterionError]: ...

    def predict_many(
        self,
        structures: "Sequence[Structure | Atoms]",
        *,
        on_error: Literal["raise", "return"] = "raise",
        options: PredictOptions | None = None,
        model: str | None = None,
        version: str | None = None,
        digest: str | None = None,
    ) -> list[Prediction] | list[Prediction | PosterionError]:
        """Ask about many structures; long sequences are sent in several requests.

        Args:
            structures: `Structure` or ASE ``Atoms`` objects, any mix.
            on_error: What becomes of a structure that cannot be evaluated: ``raise`` the
                first such error, or ``return`` each one in its structure's place.
            options: What to compute; default is energy, forces and uncertainty.
            model: Model to ask; default is the client's.
            version: Version, digest or alias of the model.
            digest: Sample set that must answer.

        Returns:
            One result per structure, in the order given.

        Raises:
            StructureError: If a structure cannot be evaluated, with ``on_error="raise"``;
                its ``index`` says which.
            PosterionError: If a request fails as a whole.
        """
        good, wrong = sort_structures(structures)
        question = self._session.question(
            model=model, version=version, options=options, digest=digest
        )
        found: dict[int, Prediction | PosterionError] = dict(wrong)
        if on_error == "raise":
            raise_first(list(wrong.values()))
        for part in chunks(good):
            outcomes = self._ask(question, part)
            if on_error == "raise":
                raise_first(outcomes)
            found.update(zip((entry.index for entry in part), outcomes, strict=True))
        return [found[index] for index in range(len(structures))]

    def models(self) -> tuple[ModelCard, ...]:
        """The current version of every model served."""
        return read_cards(self._get("/v1/models"))

    def model(self, name: str | None = None, version: str | None = None) -> ModelCard:
        """The card of one model; without a name, of the model that `predict` asks."""
        target = self._session.target_of(name, version)
        if target.model is None:
            target = Target(model=self.service().default_model)
        return read_card(self._get(target.path))

    def versions(self, name: str) -> tuple[ModelVersion, ...]:
        """Every version of one model."""
        return read_versions(self._get(f"{Target(model=name).path}/versions"))

    def service(self) -> ServiceInfo:
        """What the service declares: limits, units, encodings, default model."""
        return read_service(self._get("/v1"))

    def ready(self) -> bool:
        """Whether the service answers predictions now; asked once, never repeated."""
        call = self._session.get_call("/readyz")
        try:
            return self._attempt(call).is_success
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Close every connection; the client cannot be used afterwards."""
        self._http.close()

    def __enter__(self) -> "Self":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _ask(
        self, question: Question, asked: Sequence[Indexed]
    ) -> list[Prediction | PosterionError]:
        response = self._exchange(self._session.predict_call(question, asked))
        return self._session.read_predictions(question, asked, response)

    def _get(self, path: str) -> Node:
        return document_of(self._exchange(self._session.get_call(path)))

    def _exchange(self, call: Call) -> httpx.Response:
        attempts = Attempts(self._retry, started_s=self._pacer.now(), deadline_s=call.deadline_s)
        while True:
            error: PosterionError | None
            try:
                response = self._attempt(call)
            except httpx.HTTPError as failure:
                error = error_of_failure(failure, call)
                error.__cause__ = failure
            else:
                error = error_of_response(response)
                if error is None:
                    return response
            self._pacer.sleep(
                attempts.delay_s(error, now_s=self._pacer.now(), chance=self._pacer.random())
            )

    def _attempt(self, call: Call) -> httpx.Response:
        return self._http.request(
            call.method,
            call.url,
            headers=dict(call.headers),
            content=call.content,
            timeout=call.timeout,
        )
