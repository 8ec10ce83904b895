"""Noise on the counts of simulated sites, from the study's seed, so that a run repeats to the byte.

It has the distribution of a real site's noise, and protects nothing: anyone who knows the seed has it.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
from scipy import stats

from protocol.codec import canonical_json
from protocol.identifiers import SiteId, StudyId
from shared.statistics.count_noise import noise_scale
from site_agent.release.noise import Mechanism


def seeded_noise(study: StudyId, seed: int, site: SiteId) -> Mechanism:
    """Return a simulated site's mechanism: what it draws depends on seed, site, counts and epsilon alone."""

    def drawn(counts: Sequence[int], epsilon: float) -> tuple[int, ...]:
        named = canonical_json(["crosslot simulated noise", study, seed, site, list(counts), epsilon])
        source = np.random.default_rng(int.from_bytes(hashlib.sha256(named).digest()))
        noise = stats.dlaplace(1 / noise_scale(epsilon)).rvs(len(counts), random_state=source)
        return tuple(int(cells + added) for cells, added in zip(counts, noise, strict=True))

    return drawn
