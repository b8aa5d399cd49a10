"""Whether a document follows the schema of a request, and where it does not."""

import re
from typing import Final, TypeVar

from pydantic import ValidationError

from posterion.api.errors import MAX_FAULTS
from posterion.api.schemas import STRUCTURE_FIELDS, EvaluationRequest
from posterion.api.settings import ApiSettings
from posterion.errors import Fault, InvalidRequest, TooLarge

_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,31}")

RequestT = TypeVar("RequestT", bound=EvaluationRequest)


def validated(kind: type[RequestT], document: object, settings: ApiSettings) -> RequestT:
    """Check a document against its schema; the arrays of its structures are not read.

    Args:
        kind: What it should be.
        document: What the codec decoded.
        settings: Limit on the number of structures.

    Returns:
        The request.

    Raises:
        InvalidRequest: If a field is unknown, missing or of the wrong type.
        TooLarge: If there are too many structures.
    """
    _check_size(document, frozenset(kind.model_fields), settings)
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise not_its_schema(error) from None


def _check_size(document: object, known: frozenset[str], settings: ApiSettings) -> None:
    """Refuse what would make the strict validation itself expensive."""
    if not isinstance(document, dict):
        raise InvalidRequest("expected an object with the field structures")
    _check_fields(document, known, "")
    structures = document.get("structures")
    if not isinstance(structures, list):
        return
    if len(structures) > settings.max_structures:
        raise TooLarge(
            f"expected at most {settings.max_structures} structures, got {len(structures)}",
            faults=(Fault(pointer="/structures", detail="too many"),),
        )
    for index, entry in enumerate(structures):
        if isinstance(entry, dict):
            _check_fields(entry, STRUCTURE_FIELDS, f"/structures/{index}")


def _check_fields(entry: dict[str, object], known: frozenset[str], pointer: str) -> None:
    unknown = [name for name in entry if name not in known][:MAX_FAULTS]
    if unknown:
        raise InvalidRequest(
            "a field is not known; see errors",
            faults=tuple(_unknown_field(pointer, name) for name in unknown),
        )


def _unknown_field(pointer: str, name: str) -> Fault:
    # Only a short plain name is repeated: a pointer must not carry the caller's data.
    place = f"{pointer}/{name}" if _PLAIN_NAME.fullmatch(name) else pointer
    return Fault(pointer=place, detail="unknown field")


def not_its_schema(error: ValidationError) -> InvalidRequest:
    """The error of a document that pydantic refuses; its values are not quoted."""
    items = error.errors(include_url=False, include_context=False, include_input=False)
    faults = []
    for item in items[:MAX_FAULTS]:
        *parents, last = (str(part) for part in item["loc"])
        pointer = "".join(f"/{part}" for part in parents)
        if item["type"] == "extra_forbidden":
            faults.append(_unknown_field(pointer, last))
        else:
            faults.append(Fault(pointer=f"{pointer}/{last}", detail=item["msg"]))
    return InvalidRequest(
        "the request does not follow its schema; see errors", faults=tuple(faults)
    )
