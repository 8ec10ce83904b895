"""Numbers as people read them, as `shared.pages.rounding` writes them."""

from shared.pages.rounding import (
    DASH,
    MINUS,
    NOT_DEFINED,
    count_text,
    decimal_text,
    interval_text,
    measure_text,
    p_equation,
    p_text,
    percent_text,
    rho_text,
    share_interval_text,
    share_text,
)

__all__ = [
    "DASH",
    "MINUS",
    "NOT_DEFINED",
    "count_text",
    "decimal_text",
    "interval_text",
    "measure_text",
    "p_equation",
    "p_text",
    "percent_text",
    "rho_text",
    "share_interval_text",
    "share_text",
]
