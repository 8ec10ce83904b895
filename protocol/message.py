"""The base of every message that crosses between parties."""

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """Frozen, strict, closed: an unknown field, a wrong type, NaN or infinity is refused, never coerced."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        serialize_by_alias=True,
        validate_by_name=True,
        validate_by_alias=True,
    )
