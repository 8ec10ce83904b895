"""Days as sites write them: year, month, day."""

from datetime import date


def checked_day(text: str) -> str:
    """Return a day if it is one and written as such.

    Raises
    ------
    ValueError
        Otherwise.

    Examples
    --------
    >>> checked_day("2026-11-20")
    '2026-11-20'
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise ValueError("expected a day such as 2026-11-20")
    return text
