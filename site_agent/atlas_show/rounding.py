"""Numbers and names as people read them, the same on the terminal and on the page."""

NOT_MEASURED = "not measured"
MINUS = "\N{MINUS SIGN}"
_LAST_OF_FOUR_DIGITS = 0xFFFF


def share_text(value: float | None) -> str:
    """Return a share in per cent.

    >>> share_text(0.98428), share_text(0.0), share_text(0.0002), share_text(1.0), share_text(0.9999), share_text(None)
    ('98.4%', '0%', '< 0.1%', '100%', '> 99.9%', 'not measured')
    """
    if value is None:
        return NOT_MEASURED
    if value in {0.0, 1.0}:
        return f"{value:.0%}"
    if 0 < value < 0.0005:  # noqa: PLR2004 - what one decimal would round to 0
        return "< 0.1%"
    if 0.9995 <= value < 1:  # noqa: PLR2004 - what one decimal would round to 100
        return "> 99.9%"
    return f"{100 * value:.1f}%"


def points_text(value: float | None) -> str:
    """Return a difference of shares in percentage points.

    >>> points_text(0.0117), points_text(0.05), points_text(0.0), points_text(0.0001)
    ('1.2 points', '5 points', '0 points', '< 0.1 points')
    """
    if value is None:
        return NOT_MEASURED
    if 0 < value < 0.0005:  # noqa: PLR2004 - what one decimal would round to 0
        return "< 0.1 points"
    return f"{100 * value:.1f}".removesuffix(".0") + " points"


def decimal_text(value: float | None, decimals: int) -> str:
    """Return a number with so many decimals and a true minus sign.

    >>> decimal_text(-0.25, 2), decimal_text(-0.001, 2), decimal_text(None, 2)
    ('−0.25', '0.00', 'not measured')
    """
    if value is None:
        return NOT_MEASURED
    text = f"{value:.{decimals}f}"
    if not text.startswith("-"):
        return text
    return text[1:] if float(text) == 0 else MINUS + text[1:]


def counted(number: int, noun: str, several: str | None = None) -> str:
    """Return a number with its noun.

    >>> counted(1, "cell"), counted(1200, "cell"), counted(2, "class", "classes")
    ('1 cell', '1,200 cells', '2 classes')
    """
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def printable(name: str) -> str:
    r"""Return a name from the atlas with every character that does not print written as its code.

    Such characters can drive a terminal or turn a line's direction, so that one name reads as another.

    >>> printable("CD14 Mono"), printable("a\u202eb")
    ('CD14 Mono', 'a\\u202eb')
    """
    return "".join(each if each.isprintable() and each != "\\" else _code(each) for each in name)


def _code(character: str) -> str:
    if character == "\\":  # doubled, so that a written code differs from a name that looks like one
        return "\\\\"
    number = ord(character)
    return f"\\u{number:04x}" if number <= _LAST_OF_FOUR_DIGITS else f"\\U{number:08x}"
