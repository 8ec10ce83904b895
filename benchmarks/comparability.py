"""Error rates of the comparison of lots before and after a change of process, against known truth.

``python -m benchmarks.comparability [--replicates N] [--json]``

Rows, claims and their tolerance: `benchmarks.claims`. The walkthrough quotes the figures of which nothing is claimed.
"""

import sys
from collections.abc import Iterator
from math import log, sqrt

import numpy as np

from benchmarks.claims import Row, about, at_most, main_of, share, tolerance
from shared.comparability.findings import Outcome
from shared.statistics.comparability import contrast, differences, quality_range
from shared.statistics.equivalence_power import equivalence_power
from simulations.comparability_rates import change_of_part, outcomes, with_change
from simulations.design import Block
from simulations.power import Rate
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


def power(replicates: int) -> Iterator[Row]:
    """Yield the power of the test of potency on normal values: computed, simulated, and as STATISTICS has it."""
    trials = max(replicates * 10, 10_000)
    for (before, after), quoted in POWERS.items():
        design = contrast([False] * before + [True] * after, ["site"] * (before + after))
        exact = equivalence_power(design, sd_before=LOT_SD, sd_after=LOT_SD, margin=MARGIN, alpha=ALPHA)
        values = np.random.default_rng(SEED).normal(0.0, LOT_SD, (before + after, trials))
        passed = differences(values, design, alpha=ALPHA)
        passing = float(((passed.low > -MARGIN) & (passed.high < MARGIN)).mean())
        name = f"{before} before, {after} after, SD .35: power"
        expected = round(exact, 4)
        yield about(f"{name}, simulated against computed", passing, expected, tolerance(expected, trials))
        yield about(f"{name}, computed against STATISTICS", exact, quoted, tolerance(quoted, trials) + 0.01)
    design = contrast([False] * 11 + [True] * 3, ["site"] * 14)
    values = np.random.default_rng(SEED).normal(0.0, 1.0, (14, trials))
    values[11:] += 2.0
    inside = quality_range(values, design, k=3.0).inside == design.after.sum()
    passing = float(inside.mean())
    slack = tolerance(PASSES_THE_RANGE, trials) + 0.01
    yield about("2 SD shift, 11 before, 3 after: all within mean +- 3 SD", passing, PASSES_THE_RANGE, slack)


def at_the_margin(replicates: int) -> Iterator[Row]:
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
            similar = found[Outcome.HIGHLY_SIMILAR] / replicates
            yield at_most(f"{name}, {what}: HIGHLY_SIMILAR", similar, ALPHA, tolerance(ALPHA, replicates))


def classes(replicates: int) -> Iterator[Row]:
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
                rate = Rate(events=found[outcome], trials=replicates)
                yield share(f"{before} before, {after} after, {what}: {outcome.value}", rate)
    for name in ("process-change-alike", "process-change-different", "process-change-too-few"):
        scenario = scenario_named(name)
        plan = scenario.modules.comparability
        found = outcomes(scenario.model, scenario.blocks, plan, replicates=replicates, seed=SEED)
        for outcome in Outcome:
            yield share(f"{name}: {outcome.value}", Rate(events=found[outcome], trials=replicates))


if __name__ == "__main__":
    sys.exit(main_of(__doc__, (power, at_the_margin, classes), replicates=1_000))
