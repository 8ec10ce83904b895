"""What a benchmark measured, what was claimed of it, and how both are printed.

1. A row is one measured figure. Where something is claimed of it, it says what, how far it may be off, and whether it
   holds; where nothing is, the documentation quotes it, and it holds whatever it is.
2. A claimed share p of N studies may be off by 3 sqrt(p (1 - p) / N), unless the claim names another tolerance.
3. A claim that does not hold is printed as such, and the exit code is 1.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from math import sqrt
from typing import Protocol


class Share(Protocol):
    """How often something happened, as `simulations.power.Rate` has it."""

    @property
    def trials(self) -> int:
        """Of how many."""

    @property
    def value(self) -> float:
        """The share."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A measured figure; ``expected`` says what is claimed of it, empty where nothing is."""

    what: str
    measured: float
    standard_error: float | None = None
    expected: str = ""
    tolerance: float = 0.0
    holds: bool = True

    def __str__(self) -> str:
        text = f"{self.what:<88} {self.measured:.4f}"
        if self.expected:
            verdict = "holds" if self.holds else "DOES NOT HOLD"
            slack = f" +- {self.tolerance:.4f}" if self.tolerance else ""
            return f"{text}  expected {self.expected}{slack}  {verdict}"
        return text if self.standard_error is None else f"{text}  +- {self.standard_error:.4f}"


def tolerance(share: float, trials: int) -> float:
    """Return three standard errors of a share that is ``share`` in truth."""
    return 3 * sqrt(share * (1 - share) / trials)


def figure(what: str, measured: float) -> Row:
    """Return a figure that nothing is claimed of."""
    return Row(what=what, measured=measured)


def share(what: str, rate: Share) -> Row:
    """Return a share that nothing is claimed of, with its standard error."""
    error = sqrt(rate.value * (1 - rate.value) / rate.trials) if rate.trials else None
    return Row(what=what, measured=rate.value, standard_error=error)


def about(what: str, measured: float, expected: float, slack: float) -> Row:
    """Return the claim that a figure is ``expected``, give or take ``slack``."""
    holds = abs(measured - expected) <= slack
    return Row(what=what, measured=measured, expected=f"{expected:g}", tolerance=slack, holds=holds)


def at_most(what: str, measured: float, limit: float, slack: float) -> Row:
    """Return the claim that a figure does not exceed ``limit`` by more than ``slack``."""
    holds = measured <= limit + slack
    return Row(what=what, measured=measured, expected=f"<= {limit:g}", tolerance=slack, holds=holds)


def exceeds(what: str, measured: float, limit: float, slack: float) -> Row:
    """Return the claim that a figure exceeds ``limit`` by more than ``slack``: that a wrong method shows itself."""
    holds = measured > limit + slack
    return Row(what=what, measured=measured, expected=f"> {limit:g}", tolerance=slack, holds=holds)


def at_least(what: str, measured: float, limit: float) -> Row:
    """Return the claim that a figure is ``limit`` or more."""
    return Row(what=what, measured=measured, expected=f">= {limit:g}", holds=measured >= limit)


def options(text: str | None, *, replicates: int) -> argparse.ArgumentParser:
    """Return a parser of what every benchmark of studies is asked with; ``text`` is its module's docstring."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int, default=replicates)
    parser.add_argument("--json", action="store_true")
    return parser


def say(rows: Iterable[Row], asked: argparse.Namespace, *, unit: str = "studies") -> int:
    """Print each row once it is measured, or all as JSON at the end; return the exit code.

    Parameters
    ----------
    rows
        They are measured as they are drawn.
    asked
        What `options` parsed.
    unit
        What a replicate is, for the last line.
    """
    started = time.monotonic()
    all_hold = True
    kept = []
    for row in rows:
        all_hold &= row.holds
        if asked.json:
            kept.append(asdict(row))
        else:
            print(row, flush=True)
    if asked.json:
        print(json.dumps(kept, indent=1))
    else:
        processor = sum(os.times()[:4])  # with the workers that have ended
        wall = time.monotonic() - started
        print(f"{asked.replicates} {unit} a row, {wall:.0f} s, {processor:.0f} processor seconds")
    return 0 if all_hold else 1


def main_of(
    text: str | None, sections: Sequence[Callable[[int], Iterator[Row]]], *, replicates: int, unit: str = "studies"
) -> int:
    """Run a benchmark whose sections need to know nothing but the number of replicates; return the exit code."""
    asked = options(text, replicates=replicates).parse_args()
    return say(chain.from_iterable(section(asked.replicates) for section in sections), asked, unit=unit)
