"""Linear scales and round tick marks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True)
class Scale:
    """A linear map of data from ``low..high`` to pixels ``start..end``; y axes have ``end`` above ``start``."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


@dataclass(frozen=True)
class Ticks:
    """Tick marks at round values, and how many decimals tell them apart."""

    values: tuple[float, ...]
    decimals: int


def round_ticks(low: float, high: float, wanted: int) -> Ticks:
    """Return about ``wanted`` round values that enclose ``low..high``.

    >>> round_ticks(0.0, 37.0, 4)
    Ticks(values=(0.0, 10.0, 20.0, 30.0, 40.0), decimals=0)
    """
    span = high - low
    if span <= 0:
        span = max(abs(high), 1.0) * 0.2
        low, high = low - span / 2, high + span / 2
    rough = span / max(wanted, 1)
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in _STEPS if factor * magnitude >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    if round(step, decimals) != round(step, decimals + 1):
        decimals += 1
    return Ticks(tuple(round(index * step, decimals + 1) for index in range(first, last + 1)), decimals)


def enclosing(ticks: Ticks, start: float, end: float) -> Scale:
    """Return the scale from the first to the last tick."""
    return Scale(ticks.values[0], ticks.values[-1], start, end)


def padded(values: Sequence[float], share: float) -> tuple[float, float]:
    """Return the range of values, widened by a share of itself on both sides."""
    low, high = min(values), max(values)
    margin = (high - low) * share if high > low else max(abs(high), 1.0) * share
    return low - margin, high + margin
