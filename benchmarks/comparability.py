"""Error rates of the comparison of lots before and after a change of process, against known truth.

``python benchmarks/comparability.py [--replicates N] [--json]``

Tolerance of a claimed share p: 3 sqrt(p (1 - p) / N). One that does not hold is printed as such, with exit code 1. The
other figures are measured and compared with nothing: the walkthrough quotes them.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import log, sqrt

import numpy as np

from shared.comparability.findings import Outcome
from shared.statistics.comparability import contrast, differences, quality_range
from shared.statistics.equivalence_power import equivalence_power
from simulations.comparability_rates import change_of_part, outcomes, with_change
from simulations.design import Block
from simulations.scenarios import scenario_named
from simulations.scenarios_comparability import two_arms
from simulations.truth import Change, Model

SEED = 5
MARGIN = log(1.5)
LOT_SD = 0.35
ALPHA = 0.05
POWERS = {(11, 3): 0.18, (11, 5): 0.30, (11, 11): 0.67, (20, 20): 0.95}
PASSES_THE_RANGE = 0.53
MODEL = Model()
POTENCY_SD = sqrt(MODEL.donor_sd**2 + MODEL.lot_sd**2 + 2 * MODEL.replicate_sd**2 / MODEL.replicates)


@dataclass(frozen=True, kw_only=True)
class Line:
    """A measured share; ``expected`` says what is claimed of it, empty where nothing is."""

    what: str
    measured: float
    expected: str
    tolerance: float
    holds: bool


def _slack(share: float, trials: int) -> float:
    return 3 * sqrt(share * (1 - share) / trials)


def figure(what: str, measured: float, trials: int) -> Line:
    """Return a share that nothing is claimed of."""
    return Line(what=what, measured=measured, expected="", tolerance=_slack(measured, trials), holds=True)


def at_most(what: str, measured: float, limit: float, trials: int) -> Line:
    """Return a share that must not exceed ``limit``."""
    slack = _slack(limit, trials)
    return Line(
        what=what, measured=measured, expected=f"<= {limit:g}", tolerance=slack, holds=measured <= limit + slack
    )


def about(what: str, measured: float, expected: float, trials: int, *, rounding: float = 0.0) -> Line:
    """Return a share that must be ``expected``, which itself is known to ``rounding``."""
    slack = _slack(expected, trials) + rounding
    return Line(
        what=what, measured=measured, expected=f"{expected:g}", tolerance=slack, holds=abs(measured - expected) <= slack
    )


def power(replicates: int) -> Iterator[Line]:
    """Yield the power of the test of potency on normal values: computed, simulated, and as STATISTICS has it."""
    trials = max(replicates * 10, 10_000)
    for (before, after), quoted in POWERS.items():
        design = contrast([False] * before + [True] * after, ["site"] * (before + after))
        exact = equivalence_power(design, sd_before=LOT_SD, sd_after=LOT_SD, margin=MARGIN, alpha=ALPHA)
        values = np.random.default_rng(SEED).normal(0.0, LOT_SD, (before + after, trials))
        passed = differences(values, design, alpha=ALPHA)
        share = float(((passed.low > -MARGIN) & (passed.high < MARGIN)).mean())
        name = f"{before} before, {after} after, SD .35: power"
        yield about(f"{name}, simulated against computed", share, round(exact, 4), trials)
        yield about(f"{name}, computed against STATISTICS", exact, quoted, trials, rounding=0.01)
    design = contrast([False] * 11 + [True] * 3, ["site"] * 14)
    values = np.random.default_rng(SEED).normal(0.0, 1.0, (14, trials))
    values[11:] += 2.0
    inside = quality_range(values, design, k=3.0).inside == design.after.sum()
    passing = float(inside.mean())
    yield about(
        "2 SD shift, 11 before, 3 after: all within mean +- 3 SD", passing, PASSES_THE_RANGE, trials, rounding=0.01
    )


def at_the_margin(replicates: int) -> Iterator[Line]:
    """Yield how often lots are called highly similar that differ by exactly the margin."""
    designs = {
        "11 before, 11 after": two_arms(sites=("site-a",), before=11, after=11),
        "20 before, 20 after": two_arms(sites=("site-a",), before=20, after=20),
        "3 sites, 8 before, 8 after each": two_arms(sites=("site-a", "site-b", "site-c"), before=8, after=8),
    }
    changes = {
        "potency at 1.5-fold": Change(log_potency=MARGIN),
        "potency at 1 / 1.5-fold": Change(log_potency=-MARGIN),
        "cluster 3 at ln 2": change_of_part(MODEL, 3, log(2.0)),
        "cluster 3 at -ln 2": change_of_part(MODEL, 3, -log(2.0)),
        "cluster 0 at -ln 2": change_of_part(MODEL, 0, -log(2.0)),
    }
    for name, blocks in designs.items():
        for what, change in changes.items():
            found = outcomes(with_change(MODEL, change), blocks, replicates=replicates, seed=SEED)
            share = found[Outcome.HIGHLY_SIMILAR] / replicates
            yield at_most(f"{name}, {what}: HIGHLY_SIMILAR", share, ALPHA, replicates)


def classes(replicates: int) -> Iterator[Line]:
    """Yield how often each outcome is given: nothing changed, potency moved by 2 SD, the driver halved."""
    changes = {
        "no change": Change(),
        "potency by 2 SD": Change(log_potency=2 * POTENCY_SD),
        "cluster 3 halved": change_of_part(MODEL, 3, -log(2.0)),
    }
    for before, after in POWERS:
        blocks: tuple[Block, ...] = two_arms(sites=("site-a",), before=before, after=after)
        for what, change in changes.items():
            found = outcomes(with_change(MODEL, change), blocks, replicates=replicates, seed=SEED)
            for outcome in Outcome:
                share = found[outcome] / replicates
                yield figure(f"{before} before, {after} after, {what}: {outcome.value}", share, replicates)
    for name in ("process-change-alike", "process-change-different", "process-change-too-few"):
        scenario = scenario_named(name)
        plan = scenario.modules.comparability
        found = outcomes(scenario.model, scenario.blocks, plan, replicates=replicates, seed=SEED)
        for outcome in Outcome:
            yield figure(f"{name}: {outcome.value}", found[outcome] / replicates, replicates)


def main() -> int:
    """Print the table; exit code 1 where a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replicates", type=int, default=1_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    started = time.process_time()
    lines = []
    for section in (power, at_the_margin, classes):
        for line in section(arguments.replicates):
            lines.append(line)
            if not arguments.json:
                claim = f"  expected {line.expected} +- {line.tolerance:.4f}" if line.expected else ""
                verdict = "" if not line.expected else "  holds" if line.holds else "  DOES NOT HOLD"
                print(f"{line.what:<80} {line.measured:.4f}{claim}{verdict}", flush=True)
    if arguments.json:
        print(json.dumps([asdict(line) for line in lines], indent=1))
    else:
        print(f"{arguments.replicates} studies a row, {time.process_time() - started:.0f} processor seconds")
    return 0 if all(line.holds for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
