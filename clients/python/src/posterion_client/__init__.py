"""Client of the Posterion force service: energies, forces and their uncertainty.

>>> from posterion_client import Client, Structure
>>> water = Structure(
...     symbols=["O", "H", "H"],
...     positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]],
... )
>>> with Client() as client:  # doctest: +SKIP
...     prediction = client.predict(water)

The calculator for ASE is in `posterion_client.ase`; what other MD codes build on, and what
needs the standard library and numpy alone, in `posterion_client.md`.
"""

from typing import TYPE_CHECKING

from posterion_client._catalog import ModelCard, ModelVersion, ServiceInfo
from posterion_client._encoding import Encoding
from posterion_client._errors import (
    CompositionMismatch,
    ConnectionFailed,
    DeadlineExceeded,
    Draining,
    EvaluationFailed,
    Forbidden,
    InternalError,
    InvalidArgument,
    InvalidReply,
    InvalidRequest,
    InvalidStructure,
    MalformedBody,
    MethodNotAllowed,
    ModelChanged,
    NonFiniteResult,
    NoReply,
    NotAcceptable,
    NotFound,
    NotReady,
    Overloaded,
    PosterionError,
    QuotaExceeded,
    RequestError,
    ServiceError,
    StructureError,
    StructureTooLarge,
    TimedOut,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnknownModel,
    UnsupportedElement,
    UnsupportedMediaType,
    UnsupportedProperty,
)
from posterion_client._halting import UncertaintyExceeded
from posterion_client._labels import Judgement, LabelState, Lesson
from posterion_client._problem import Fault, Problem
from posterion_client._request import PredictOptions
from posterion_client._results import (
    EnergyUncertainty,
    Flag,
    ForcesUncertainty,
    ModelIdentity,
    Prediction,
    SampleOutputs,
    Timing,
    Uncertainty,
    UncertaintyGradient,
)
from posterion_client._retry import AsyncPacer, Pacer, RetryPolicy
from posterion_client._structure import Structure

if TYPE_CHECKING:
    from posterion_client._async_client import AsyncClient
    from posterion_client._client import Client

__all__ = [
    "AsyncClient",
    "AsyncPacer",
    "Client",
    "CompositionMismatch",
    "ConnectionFailed",
    "DeadlineExceeded",
    "Draining",
    "Encoding",
    "EnergyUncertainty",
    "EvaluationFailed",
    "Fault",
    "Flag",
    "Forbidden",
    "ForcesUncertainty",
    "InternalError",
    "InvalidArgument",
    "InvalidReply",
    "InvalidRequest",
    "InvalidStructure",
    "Judgement",
    "LabelState",
    "Lesson",
    "MalformedBody",
    "MethodNotAllowed",
    "ModelCard",
    "ModelChanged",
    "ModelIdentity",
    "ModelVersion",
    "NoReply",
    "NonFiniteResult",
    "NotAcceptable",
    "NotFound",
    "NotReady",
    "Overloaded",
    "Pacer",
    "PosterionError",
    "PredictOptions",
    "Prediction",
    "Problem",
    "QuotaExceeded",
    "RequestError",
    "RetryPolicy",
    "SampleOutputs",
    "ServiceError",
    "ServiceInfo",
    "Structure",
    "StructureError",
    "StructureTooLarge",
    "TimedOut",
    "Timing",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Uncertainty",
    "UncertaintyExceeded",
    "UncertaintyGradient",
    "UnknownModel",
    "UnsupportedElement",
    "UnsupportedMediaType",
    "UnsupportedProperty",
]


def __getattr__(name: str) -> object:
    """Import the clients when they are asked for: the Python of an MD code may lack httpx."""
    if name == "Client":
        from posterion_client._client import Client  # noqa: PLC0415

        return Client
    if name == "AsyncClient":
        from posterion_client._async_client import AsyncClient  # noqa: PLC0415

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
