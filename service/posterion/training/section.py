"""What every section of a training configuration has in common: strictness, and named numbers."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Residual = Literal["component", "norm"]
"""Whose density a force likelihood is: each component's, or that of the error's norm."""


class Section(BaseModel):
    """A section of the file: unknown keys are errors, values cannot change later."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodSection(Section):
    """The section that names a method, and how many independent members it has.

    A member is a chain, or a network that is optimised.
    """

    @property
    def usual_members(self) -> int:
        """Members if the configuration does not say."""
        return 2

    @property
    def fewest_members(self) -> int:
        """Fewest that make a bank."""
        return 1

    @property
    def most_members(self) -> int:
        """Most that are accepted."""
        return 64
