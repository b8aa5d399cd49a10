"""How a wrong configuration is explained: every field by name, and the key that was meant."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Final, get_args

from pydantic import BaseModel, ValidationError

_CALLED_DIFFERENTLY: Final[Mapping[str, str]] = {"sampler": "method"}
_FOLLOWS_FROM_ANOTHER: Final = "default_factory_not_called"


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """One line per wrong field.

    Args:
        error: What was wrong.
        model: Of the whole document.
    """
    return "\n".join(
        f"  {'.'.join(map(str, each['loc']))}: "
        + (_unknown(each["loc"], model) if each["type"] == "extra_forbidden" else each["msg"])
        for each in error.errors()
        if each["type"] != _FOLLOWS_FROM_ANOTHER
    )


def _unknown(place: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """Say which key was probably meant, or which there are."""
    *parents, key = map(str, place)
    known = _keys(parents, model)
    renamed = _CALLED_DIFFERENTLY.get(key)
    near = [renamed] if renamed in known else get_close_matches(key, known, n=1)
    if near:
        return f"unknown key; did you mean {near[0]}?"
    return f"unknown key; expected one of {', '.join(known)}"


def _keys(parents: list[str], model: type[BaseModel]) -> list[str]:
    """Keys of the section at a place; of a union's sections, the tag in the place picks one."""
    sections = [model]
    for part in parents:
        tagged = [each for each in sections if _kind(each) == part]
        sections = tagged or [
            inner
            for each in sections
            if part in each.model_fields
            for inner in _models(each.model_fields[part].annotation)
        ]
    return sorted({name for each in sections for name in each.model_fields})


def _kind(section: type[BaseModel]) -> object:
    field = section.model_fields.get("kind")
    return None if field is None else field.default


def _models(annotation: object) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]
