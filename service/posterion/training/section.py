"""What every section of a training configuration has in common: strictness, and named numbers."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A section of the file: unknown keys are errors, values cannot change later."""

    model_config = ConfigDict(frozen=True, extra="forbid")
