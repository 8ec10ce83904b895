"""The names of the study modules, as plans ask for them and site policies allow them."""

from enum import StrEnum


class ModuleName(StrEnum):
    """What a study may ask for beside composition and potency (SPEC 8)."""

    MARKERS = "markers"
    ATTRIBUTES = "attributes"
    COMPARABILITY = "comparability"
    SPECIFICATION = "specification"
