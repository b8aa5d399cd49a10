"""The client for event loops."""

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, overload

import httpx

from posterion_client._address import is_this_machine, resolve_url, with_authorization
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
from posterion_client._exchange import document_of
from posterion_client._fields import Node
from posterion_client._labels import Judgement, LabelState, Lesson, check_labels
from posterion_client._request import Indexed, PredictOptions, Target, chunks
from posterion_client._results import Prediction
from posterion_client._retry import AsyncPacer, AsyncSystemPacer, RetryPolicy
from posterion_client._sending import AsyncSender
from posterion_client._session import (
    CONNECTION_LIMITS,
    DEFAULT_TIMEOUT,
    Question,
    Session,
    only_one,
    question_about,
    raise_first,
    sort_structures,
)
from posterion_client._structure import Structure, as_structure
from posterion_client._user_agent import USER_AGENT

if TYPE_CHECKING:
    from ase import Atoms
    from typing_extensions import Self


class AsyncClient:
    """Asks a Posterion service for energies, forces and their uncertainty; for asyncio.

    Connections are kept open and shared by all tasks of one event loop. Use it as an
    asynchronous context manager, or await `close`.

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
        headers: Headers sent with every request; ``Authorization`` is the environment variable
            ``POSTERION_AUTHORIZATION`` unless it is among them.
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
        transport: httpx.AsyncBaseTransport | None = None,
        pacer: AsyncPacer | None = None,
    ) -> None:
        self._session = Session(
            url=resolve_url(url),
            target=Target(model=model, version=version),
            pin=version is not None if pin is None else pin,
            encoding=encoding,
            timeout=timeout,
        )
        self._http = httpx.AsyncClient(
            headers={"User-Agent": USER_AGENT, **with_authorization(headers)},
            limits=CONNECTION_LIMITS,
            transport=transport,
            trust_env=not is_this_machine(self._session.url),
        )
        self._sender = AsyncSender(
            http=self._http, retry=retry or RetryPolicy(), pacer=pacer or AsyncSystemPacer()
        )

    @property
    def url(self) -> str:
        """Address of the service."""
        return self._session.url

    async def predict(
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
        return only_one(await self._ask(question, asked))

    @overload
    async def predict_many(
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
    async def predict_many(
        self,
        structures: "Sequence[Structure | Atoms]",
        *,
        on_error: Literal["return"],
        options: PredictOptions | None = None,
        model: str | None = None,
        version: str | None = None,
        digest: str | None = None,
    ) -> list[Prediction | PosterionError]: ...

    async def predict_many(
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
            outcomes = await self._ask(question, part)
            if on_error == "raise":
                raise_first(outcomes)
            found.update(zip((entry.index for entry in part), outcomes, strict=True))
        return [found[index] for index in range(len(structures))]

    async def learn(
        self,
        structures: "Sequence[Structure | Atoms]",
        energies: Sequence[float | None],
        *,
        threshold: float,
        state: LabelState | None = None,
        options: PredictOptions | None = None,
    ) -> Lesson:
        """Compare reference energies with predicted ones, and say how far these can be trusted.

        Args:
            structures: `Structure` or ASE ``Atoms`` objects, in the order of the trajectory.
            energies: Reference energy of each, eV; None where only the confidence is wanted.
            threshold: Error of an energy that is still acceptable, eV.
            state: Of the last lesson, whose sample set answers again even where a newer one
                is served; None begins with the model and version of the client.
            options: Of these, ``precision``, ``n_samples`` and ``deadline_s`` apply.

        Returns:
            One judgement per structure, or its error in its place, and the state for the
            next call. A structure that errs teaches nothing.

        Raises:
            PosterionError: If a request fails as a whole; the state is then still good.
        """
        good, wrong = sort_structures(structures)
        labels = check_labels(energies, n_structures=len(structures), threshold=threshold)
        if state is None:
            state = self._session.first_state(self._session.target, await self.model())
        question = question_about(state, options)
        found: dict[int, Judgement | PosterionError] = dict(wrong)
        for part in chunks(good):
            call = self._session.labels_call(question, part, labels, state)
            lesson = self._session.read_lesson(question, part, await self._sender.exchange(call))
            state = lesson.state
            found.update(zip((entry.index for entry in part), lesson.results, strict=True))
        return Lesson(results=tuple(found[index] for index in range(len(structures))), state=state)

    async def models(self) -> tuple[ModelCard, ...]:
        """The current version of every model served."""
        return read_cards(await self._get("/v1/models"))

    async def model(self, name: str | None = None, version: str | None = None) -> ModelCard:
        """The card of one model; without a name, of the model that `predict` asks."""
        target = self._session.target_of(name, version)
        if target.model is None:
            target = Target(model=(await self.service()).default_model)
        return read_card(await self._get(target.path))

    async def versions(self, name: str) -> tuple[ModelVersion, ...]:
        """Every version of one model."""
        return read_versions(await self._get(f"{Target(model=name).path}/versions"))

    async def service(self) -> ServiceInfo:
        """What the service declares: limits, units, encodings, default model."""
        return read_service(await self._get("/v1"))

    async def ready(self) -> bool:
        """Whether the service answers predictions now; asked once, never repeated."""
        call = self._session.get_call("/readyz")
        try:
            return (await self._sender.attempt(call)).is_success
        except httpx.TransportError:
            return False

    async def close(self) -> None:
        """Close every connection; the client cannot be used afterwards."""
        await self._http.aclose()

    async def __aenter__(self) -> "Self":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(
        self, question: Question, asked: Sequence[Indexed]
    ) -> list[Prediction | PosterionError]:
        answer = await self._sender.exchange(self._session.predict_call(question, asked))
        return self._session.read_predictions(question, asked, answer)

    async def _get(self, path: str) -> Node:
        return document_of(await self._sender.exchange(self._session.get_call(path)))
