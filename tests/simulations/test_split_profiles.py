"""The real study under the thresholds of ``standard``: small counts are hidden, and the answer carries their bounds."""

from pathlib import Path

import pytest

from protocol.plan import Profile
from protocol.policy import Owner, effective, read_policy
from protocol.study_draft import read_study_draft
from simulations.experiment import run_study
from simulations.split_request import SplitRequest, parse_condition, parse_potency
from simulations.study_folder import split_study


@pytest.mark.real_data
def test_under_standard_small_lots_take_part_openly_and_hidden_counts_become_bounds(
    real_data: Path, tmp_path: Path
) -> None:
    study, out = tmp_path / "kang", tmp_path / "run"
    request = SplitRequest(
        cells=real_data / "kang_ifnb.h5ad",
        lot_column="donor",
        where=(parse_condition("condition=ctrl"),),
        labels_column="cell_type",
        donor_column=None,
        tissue_column=None,
        potency=parse_potency(f"{real_data}/kang_potency.csv:donor:potency_CXCL10_CPM"),
        unit="CPM",
        assay="CXCL10",
        decimals=1,
        reference_lots=None,
        sites=2,
        out=study,
        seed=1,
        profile=Profile.STANDARD,
        minimum_cells=40,
    )
    split_study(request)
    plan = read_study_draft((study / "study.toml").read_bytes())
    rules = effective(read_policy((study / "sites" / "site-1" / "policy.toml").read_bytes()), plan)
    assert (rules.minimum_cells.value, rules.minimum_cells.owner) == (40, Owner.SITE)
    assert (rules.applied, rules.small_count.value) == (Profile.STANDARD, 5)

    outcome = run_study(study, out, threads=2).outcome
    data, results = outcome.data, outcome.results
    assert len(data.lots) == 8
    hidden = data.counts_low != data.counts_high
    assert hidden.sum() > 10
    assert set(data.counts_low[hidden].tolist()) == {1}
    assert set(data.counts_high[hidden].tolist()) == {4}
    assert set(data.counts_low[~hidden].tolist()).isdisjoint({1, 2, 3, 4})
    bounded = [row for row in results.associations if row.sensitivity.rho_low_under_suppression is not None]
    assert bounded
    for row in bounded:
        low, high = row.sensitivity.rho_low_under_suppression, row.sensitivity.rho_high_under_suppression
        assert low is not None
        assert high is not None
        assert row.rho is None or low - 1e-9 <= row.rho <= high + 1e-9
