"""What noise on counts does to the comparison of lots and to the release threshold, which do not account for it.

``python -m benchmarks.noise_modules [--replicates N] [--json]``

1. Lots whose rarest cluster differs by exactly the margin: how often its interval as counted lies within the margin (to
   be at most .05 without noise), how often wholly outside, the mean difference found, -ln 2 being the truth; how often
   the cluster is lost in noise, by which neither is shown, and how often the lots are called highly similar.
2. A threshold from 32 lots whose shares bear noise, held against lots that are counted exactly: how many of the lots
   that lie exactly at the threshold are weak (5% are allowed), by the part of the shares' variance that is noise.

Nothing is claimed of these figures: documentation and `coordinator.noise` quote them.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from math import log, sqrt

import numpy as np
from scipy.stats import norm

from benchmarks.claims import Row, figure, main_of, share
from benchmarks.noise_power import noised
from coordinator.modules.comparability import compare_arms
from protocol.identifiers import EndpointId
from protocol.modules.comparability import ComparabilityPlan
from protocol.plan import Cohort, CohortRole, Endpoint, Normalisation
from shared.comparability.findings import Outcome
from shared.statistics.specification import fit_line, threshold_of
from simulations.comparability_rates import change_of_part, with_change
from simulations.power import Rate
from simulations.scenarios_comparability import two_arms
from simulations.truth import Model, replicate_generator, simulate_study, to_study_data

SEED = 5
CELLS = 2_000
EPSILONS = (None, 1.0, 0.5, 0.2)
CONFIDENCE = 0.95


def at_the_margin(replicates: int) -> Iterator[Row]:
    """Yield what becomes of a rare cluster that is halved, where the margin is a halving."""
    endpoint_id = EndpointId("vegf")
    plan = ComparabilityPlan(endpoint=endpoint_id, change="simulated")
    endpoint = Endpoint(endpoint=endpoint_id, assay="VEGF", unit="pg/mL", normalisation=Normalisation.RUN_REFERENCE)
    cohorts = (Cohort(cohort="discovery", role=CohortRole.DISCOVERY),)
    for rare, lots in ((0.005, 20), (0.005, 60), (0.02, 20), (0.02, 60)):
        model = replace(
            Model(),
            base_shares=(0.5, 0.25, 0.15, 0.1 - rare, rare),
            cells_low=CELLS,
            cells_high=CELLS,
            lot_concentration=2_000.0,
            donor_concentration=2_000.0,
        )
        changed = with_change(model, change_of_part(model, 4, -log(2.0)))
        blocks = two_arms(sites=("site-a",), before=lots, after=lots)
        found = np.zeros((5, len(EPSILONS), replicates))
        for number in range(replicates):
            rng = replicate_generator(SEED, number)
            exact = to_study_data(simulate_study(changed, blocks, rng), endpoint=endpoint_id)
            for place, epsilon in enumerate(EPSILONS):
                data = exact if epsilon is None else noised(exact, epsilon, rng)
                answer = compare_arms(data, plan, (endpoint,), cohorts)
                assert answer is not None  # noqa: S101 - a plan that asks is answered
                part = answer.findings.parts[4]
                estimate, low, high = (
                    np.nan if each is None else each for each in (part.estimate, part.bound_low, part.bound_high)
                )
                highly = answer.findings.outcome is Outcome.HIGHLY_SIMILAR
                within = -part.margin < low and high < part.margin
                found[:, place, number] = within, part.outside_as_counted, estimate, part.lost_in_noise, highly
        for place, epsilon in enumerate(EPSILONS):
            where = f"{rare:.1%} of {CELLS:,} cells halved, {lots} and {lots} lots, "
            where += "no noise: " if epsilon is None else f"epsilon {epsilon:g}: "
            for what, row in (
                ("as counted within the margin", 0),
                ("as counted wholly outside", 1),
                ("lost in noise", 3),
                ("called highly similar", 4),
            ):
                yield share(where + what, Rate(events=int(found[row, place].sum()), trials=replicates))
            yield figure(where + "mean difference in ln", float(np.nanmean(found[2, place])))


def at_the_threshold(replicates: int) -> Iterator[Row]:
    """Yield how many lots that lie exactly at the threshold are weak, by the part of the variance that is noise."""
    for r in (0.9, 0.8):
        for weak in (0.02, 0.1, 0.3):
            limit = float(norm.ppf(weak))
            for part in (0.0, 0.05, 0.2, 0.5):
                rng = np.random.default_rng((SEED, int(100 * r), int(100 * weak)))
                at_threshold = []
                for _ in range(replicates):
                    x = rng.standard_normal(32)
                    y = r * x + sqrt(1 - r * r) * rng.standard_normal(32)
                    seen = x + sqrt(part / (1 - part)) * rng.standard_normal(32)
                    low, high = float(seen.min()), float(seen.max())
                    line = fit_line(seen, y)
                    threshold = threshold_of(line, limit, low=low, high=high, confidence=CONFIDENCE, rises=True)
                    at_threshold.append(float(norm.cdf((limit - r * threshold) / sqrt(1 - r * r))))
                where = f"32 lots, r = {r}, {weak:.0%} of lots weak, noise {part:.0%} of the variance"
                yield figure(f"{where}: weak at the threshold", float(np.nanmean(at_threshold)))


if __name__ == "__main__":
    sys.exit(main_of(__doc__, (at_the_threshold, at_the_margin), replicates=400))
