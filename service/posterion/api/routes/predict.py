"""Predictions: energies, forces, stress and their uncertainty for some structures.

Their routes are Starlette's, as those of sessions are: a request has nothing that FastAPI could
read for it, and looking for that costs a small request a tenth of its time.
"""

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from posterion.api.answer import Answer
from posterion.api.backend import ModelIdentity
from posterion.api.codec import DOCUMENTS, ENCODINGS, MediaType
from posterion.api.dependencies import ModelPath, Service, model_path, preferences
from posterion.api.disconnect import run_while_connected, whole_body
from posterion.api.errors import problem_response
from posterion.api.labels import check_state, judge, write_lesson
from posterion.api.negotiation import check_if_match, reply_media_type, request_media_type
from posterion.api.parsing import PredictWork
from posterion.api.prediction import single_error
from posterion.api.record import record_of
from posterion.api.replies import version_headers
from posterion.errors import PosterionError

PATHS: Final = (
    "/v1/predict",
    "/v1/models/{model}/predict",
    "/v1/models/{model}/versions/{version}/predict",
)


class PredictCall:
    """One request for evaluations: refused by its headers first, then read, evaluated, written."""

    def __init__(self, service: Service, request: Request) -> None:
        """Keep what the request brings.

        Args:
            service: Answers it.
            request: The request; its body has not been read.
        """
        self._request = request
        self._service = service
        self._record = record_of(request.scope)
        self._preferences = preferences(request)

    async def answer(self, path: ModelPath) -> Response:
        """Answer the request with one model.

        Args:
            path: The model and version to answer with.

        Returns:
            The reply; 200 even where every structure has an error of its own, unless the
            caller prefers otherwise.
        """
        model, body_type, reply_type = self._begin(path, ENCODINGS)
        predictions = self._service.predictions
        work = await predictions.read(
            await whole_body(self._request.receive), body_type, self._record
        )
        answer = await self._evaluate(work, model, path)
        strict = self._strict_error(answer.outcomes, answer.model)
        if strict is not None:
            return strict
        content = await predictions.write(answer, reply_type, self._record)
        return Response(content, media_type=str(reply_type), headers=version_headers(answer.model))

    async def learn(self, path: ModelPath) -> Response:
        """Compare the labels of the request with one version.

        Args:
            path: The model and version to compare with.

        Returns:
            The reply; 200 even where every structure has an error of its own, unless the
            caller prefers otherwise.
        """
        model, body_type, reply_type = self._begin(path)
        predictions = self._service.predictions
        work = await predictions.read_labels(
            await whole_body(self._request.receive), body_type, self._record
        )
        check_state(work, model.digest)
        answer = await self._evaluate(work.predict, model, path)
        check_state(work, answer.model.digest)
        lesson = judge(work, answer)
        predictions.count_refusals(answer, lesson.outcomes)
        strict = self._strict_error(lesson.outcomes, answer.model)
        if strict is not None:
            return strict
        content = write_lesson(lesson, answer, reply_type, self._record)
        return Response(content, media_type=str(reply_type), headers=version_headers(answer.model))

    def _begin(
        self, path: ModelPath, offers: tuple[MediaType, ...] = DOCUMENTS
    ) -> tuple[ModelIdentity, MediaType, MediaType]:
        """Refuse by the headers; the version that would answer, and both encodings."""
        model = self._service.backend.identity(path.name, path.version)
        self._record.model = model.name
        check_if_match(self._preferences.if_match, model.digest)
        headers = self._request.headers
        body_type = request_media_type(headers.get("content-type"), offers)
        # A frame is answered in any encoding; a document has parts that a frame has not.
        answers = offers if body_type is MediaType.FRAME else DOCUMENTS
        reply_type = reply_media_type(headers.get("accept"), answers, default=body_type)
        return model, body_type, reply_type

    async def _evaluate(self, work: PredictWork, model: ModelIdentity, path: ModelPath) -> Answer:
        evaluation = self._service.predictions.evaluate(work, model, path.version, self._record)
        answer = await run_while_connected(evaluation, self._request.receive)
        # An alias may have moved since the first look: no other version ever answers.
        check_if_match(self._preferences.if_match, answer.model.digest)
        self._record.version = answer.model.version
        return answer

    def _strict_error(self, outcomes: Sequence[object], model: ModelIdentity) -> Response | None:
        error = single_error(outcomes)
        if error is None or not self._preferences.strict:
            return None
        return problem_response(
            error,
            self._record,
            pointer_prefix="/structures/0",
            headers={**version_headers(model), "Preference-Applied": "handling=strict"},
        )


class PredictEndpoint:
    """An ASGI application behind the routes of predictions."""

    def __init__(self, service: Service) -> None:
        """Keep the service."""
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request with the model and version that its path names."""
        call = PredictCall(self._service, Request(scope, receive))
        response = await call.answer(self._path(scope))
        await response(scope, receive, send)

    def _path(self, scope: Scope) -> ModelPath:
        parameters: dict[str, str] = scope["path_params"]
        if not parameters:
            return ModelPath(name=self._service.backend.default_model(), version=None)
        return model_path(parameters["model"], parameters.get("version"))


class PredictRoute(Route):
    """A route that says in the scope which one it is, as FastAPI's do."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether a request is for this route, and what its path says."""
        match, found = super().matches(scope)
        return match, {**found, "route": self} if found else found


class PredictFirst:
    """ASGI middleware that takes predictions past the framework, all else to it.

    It is the innermost, so what the framework does between its own middleware and a route is all
    that is left out: of that a prediction needs only that its errors become problems.
    """

    def __init__(self, app: ASGIApp, *, routes: Sequence[PredictRoute]) -> None:
        """Wrap an application.

        Args:
            app: The application; has the routes as well, for other methods and the listing.
            routes: Of the predictions.
        """
        self._app = app
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a prediction, or hand on what is none."""
        if scope["type"] == "http" and scope["path"].endswith("/predict"):
            for route in self._routes:
                match, found = route.matches(scope)
                if match is Match.FULL:
                    scope.update(found)
                    await _answered(route.app, scope, receive, send)
                    return
        await self._app(scope, receive, send)


async def _answered(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run a route; its errors are answered as `install_error_handlers` has those of others."""
    try:
        await app(scope, receive, send)
    except PosterionError as error:
        await problem_response(error, record_of(scope))(scope, receive, send)


def predict_routes(service: Service) -> list[PredictRoute]:
    """The routes of predictions.

    Args:
        service: Answers them.
    """
    endpoint = PredictEndpoint(service)
    return [PredictRoute(path, endpoint, methods=["POST"]) for path in PATHS]
