"""Numbers as people read them: one rounding for the page, its tables, its figures and the console.

The rules. A correlation has two decimals and a true minus sign. A p-value has three decimals below 0.1, two above, is
"< 0.001" below that, and gets more digits where rounding would put it on the other side of alpha or upon it. A share is
in per cent. An interval is a pair. What is not defined is said in words, never as a number.
"""

import math

MINUS = "\N{MINUS SIGN}"
DASH = "\N{EN DASH}"
_TIED = "\N{NO-BREAK SPACE}"
NOT_DEFINED = "not defined"

_SMALLEST_P = 0.001
_FINE_P = 0.1
_FINE_SHARE = 1.0
_SMALLEST_SHARE = 0.01
_MORE_DIGITS = range(4, 10)


def decimal_text(value: float, decimals: int) -> str:
    """Return ``value`` with so many decimals, a true minus sign, and no negative zero.

    >>> decimal_text(-0.004, 2), decimal_text(-1.5, 1)
    ('0.00', '−1.5')
    """
    text = f"{value:.{decimals}f}"
    if not text.startswith("-"):
        return text
    return text[1:] if float(text) == 0 else MINUS + text[1:]


def rho_text(rho: float | None) -> str:
    """Return a correlation with two decimals.

    Only exactly 1 or -1 is written "1.00": what merely rounds to it is written with the digits that tell.

    >>> rho_text(0.857), rho_text(-0.3), rho_text(None), rho_text(0.9976)
    ('0.86', '−0.30', 'not defined', '0.998')
    """
    if rho is None:
        return NOT_DEFINED
    for decimals in range(2, 6):
        if abs(round(rho, decimals)) < 1:
            return decimal_text(rho, decimals)
    return decimal_text(rho, 2)


def p_text(p: float | None, *, alpha: float | None = None) -> str:
    """Return a p-value; never one that reads as the other side of ``alpha``.

    >>> p_text(0.0107), p_text(0.0004), p_text(0.2366), p_text(None)
    ('0.011', '< 0.001', '0.24', 'not defined')
    >>> p_text(0.05004, alpha=0.05)
    '0.05004'
    """
    if p is None:
        return NOT_DEFINED
    if p < _SMALLEST_P:
        return "< 0.001"
    decimals = 3 if p < _FINE_P else 2
    if alpha is not None and p != alpha and _changes_side(p, alpha, decimals):
        for more in _MORE_DIGITS:
            if not _changes_side(p, alpha, more):
                return f"{p:.{more}f}"
    return f"{p:.{decimals}f}"


def p_equation(p: float | None, *, alpha: float | None = None) -> str:
    """Return "p = 0.011" or "p < 0.001", not to be broken between lines.

    >>> p_equation(0.0107).split(), p_equation(0.0001).split()
    (['p', '=', '0.011'], ['p', '<', '0.001'])
    """
    text = p_text(p, alpha=alpha)
    return f"p{_TIED}{text.replace(' ', _TIED)}" if text.startswith("<") else f"p{_TIED}={_TIED}{text}"


def interval_text(low: float | None, high: float | None) -> str:
    """Return an interval of correlations.

    >>> interval_text(-0.3, 0.96)
    '−0.30 to 0.96'
    """
    if low is None or high is None:
        return NOT_DEFINED
    return f"{rho_text(low)} to {rho_text(high)}"


def share_text(percent: float) -> str:
    """Return a share, given in per cent, with its sign.

    >>> share_text(12.345), share_text(0.25), share_text(0), share_text(0.001)
    ('12.3%', '0.25%', '0%', '< 0.01%')
    """
    if percent == 0:
        return "0%"
    if percent < _SMALLEST_SHARE:
        return "< 0.01%"
    return f"{percent:.{1 if percent >= _FINE_SHARE else 2}f}%"


def share_interval_text(low: float, high: float) -> str:
    """Return a share known to lie between two bounds, in per cent: "≤ 0.25%" where nothing may be there.

    >>> share_interval_text(0, 0.25), share_interval_text(2, 3.5), share_interval_text(4, 4)
    ('≤ 0.25%', '2.0–3.5%', '4.0%')
    """
    if share_text(low) == share_text(high):
        return share_text(high)
    if low == 0:
        return f"\N{LESS-THAN OR EQUAL TO} {share_text(high)}"
    return f"{share_text(low).removesuffix('%')}{DASH}{share_text(high)}"


def count_text(low: int, high: int) -> str:
    """Return a number of cells; a suppressed one as the bound it is known by.

    A small count is "< 5" whether its site tells 0 apart or not; a known 0 is "0".

    >>> count_text(1234, 1234), count_text(0, 4), count_text(1, 4), count_text(5, 40)
    ('1,234', '< 5', '< 5', '5–40')
    """
    if low == high:
        return f"{low:,}"
    if low <= 1:
        return f"< {high + 1:,}"
    return f"{low:,}{DASH}{high:,}"


def percent_text(fraction: float | None) -> str:
    """Return a fraction of 1 as whole per cent.

    >>> percent_text(0.954), percent_text(None)
    ('95%', 'not defined')
    """
    return NOT_DEFINED if fraction is None else f"{100 * fraction:.0f}%"


def measure_text(value: float, *, decimals: int = 0, unit: str = "") -> str:
    """Return a measured value with its unit; "missing" where it is not a number.

    >>> measure_text(1234.5), measure_text(float("nan")), measure_text(3.25, decimals=1, unit="%")
    ('1,234', 'missing', '3.2%')
    """
    if math.isnan(value):
        return "missing"
    return f"{value:,.{decimals}f}{unit}"


def _changes_side(p: float, alpha: float, decimals: int) -> bool:
    return (round(p, decimals) <= alpha) != (p <= alpha)
