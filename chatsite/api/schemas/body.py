"""What all bodies are made of: strict JSON, and faults that show between fields."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

FIELDS_TOGETHER = "fields_together"
MISSING_INSIDE = "missing_inside"
NOTHING_INSIDE = "nothing_inside"


class Body(BaseModel):
    """JSON as it is: a string is no number, and nothing unknown passes."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


def together(param: str, message: str) -> PydanticCustomError:
    """An error between fields that are each valid alone; `param` is the field to name."""
    return PydanticCustomError(FIELDS_TOGETHER, "{message}", {"param": param, "message": message})


def missing(field: str) -> PydanticCustomError:
    """The error for an absent field that this object's other fields require."""
    return PydanticCustomError(MISSING_INSIDE, "missing", {"field": field})


def nothing_inside(field: str, value: list[Any] | None) -> PydanticCustomError:
    """A field of this object, named as its other fields are, that holds null or an empty array."""
    return PydanticCustomError(NOTHING_INSIDE, "nothing", {"field": field, "value": value})
