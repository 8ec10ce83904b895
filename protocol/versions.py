"""Which versions of crosslot can work together: those of one major and minor number (before 1.0: one minor)."""

import re
from typing import Final

_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})(?:[.a-z+-].*)?")


def compatible(one: str, other: str) -> bool:
    """Return whether two versions can work together.

    >>> compatible("0.1.0", "0.1.7"), compatible("0.1.0", "0.2.0"), compatible("0.1.0", "?")
    (True, False, False)
    """
    first, second = _VERSION.fullmatch(one), _VERSION.fullmatch(other)
    return first is not None and second is not None and first.groups() == second.groups()
