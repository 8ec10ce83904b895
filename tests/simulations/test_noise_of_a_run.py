"""A simulated run under noise repeats to the byte, and its noise has the distribution of a real site's."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from coordinator.written import RESULTS_FILE
from protocol.identifiers import SiteId, StudyId
from protocol.policy import NoisePolicy, read_policy, write_policy
from shared.statistics.count_noise import noise_scale
from simulations.experiment import run_study
from simulations.seeded_noise import seeded_noise
from tests.study_with_cells import SITES, write_study

STUDY, SITE = StudyId("vegf-2026"), SiteId("kyoto")


def test_the_seeded_noise_is_discrete_laplace_and_its_seeds_own() -> None:
    drawn = np.array(seeded_noise(STUDY, 3, SITE)([500] * 20_000, 1.0)) - 500
    values = np.arange(-8, 9)
    expected = 20_000 * stats.dlaplace(1 / noise_scale(1.0)).pmf(values)
    seen = np.array([np.count_nonzero(drawn == value) for value in values])
    # A seeded draw: it passes or it does not. 17 values, so that a sound one lies below 40 in 999 of 1,000 seeds.
    assert ((seen - expected) ** 2 / expected).sum() < 40
    again, other = seeded_noise(STUDY, 3, SITE), seeded_noise(STUDY, 4, SITE)
    assert tuple(drawn + 500) == again([500] * 20_000, 1.0) != other([500] * 20_000, 1.0)


@pytest.mark.parametrize("epsilon", [1.0])
def test_a_run_under_noise_repeats_to_the_byte_and_says_what_it_hides(tmp_path: Path, epsilon: float) -> None:
    study = write_study(tmp_path / "study")
    exact = run_study(study, tmp_path / "exact", threads=1).outcome
    for site in SITES:
        path = study / "sites" / site / "policy.toml"
        noise = NoisePolicy(epsilon_per_release=epsilon, epsilon_budget=epsilon)
        path.write_bytes(write_policy(read_policy(path.read_bytes()).model_copy(update={"noise": noise})))
    first = run_study(study, tmp_path / "first", threads=1).outcome
    run_study(study, tmp_path / "second", threads=1)
    assert (tmp_path / "first" / RESULTS_FILE).read_bytes() == (tmp_path / "second" / RESULTS_FILE).read_bytes()
    moved = np.abs(first.data.counts_low - exact.data.counts_low)
    assert 0 < moved.max() < 40  # 40: fewer than one in 10^8 draws of scale 2 goes so far
    assert any("a cell, not a donor" in warning for warning in first.results.warnings)
