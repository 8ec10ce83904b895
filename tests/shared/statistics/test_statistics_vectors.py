"""The recorded input -> expected pairs that belong to the association engine."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from shared.statistics.composition import centred_log_ratios, shares
from shared.statistics.exact import exact_p
from shared.statistics.intervals import correlation_interval
from shared.statistics.permutation import every_order, permutation_test, tally_permutations
from shared.statistics.potency import Run, log_relative_potency
from shared.statistics.ranks import doubled_ranks, rank_design, spearman

_TOLERANCE = 1e-12  # what the file declares


@pytest.fixture(scope="module")
def recorded(vectors: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((vectors / "statistics.json").read_text())
    return loaded


def test_exact_spearman_p(recorded: dict[str, Any]) -> None:
    for entry in recorded["exact_spearman_p"]:
        n = len(entry["x"])
        design = rank_design(np.array(entry["x"])[:, None], entry["y"], np.zeros(n))
        assert design.rho[0] == pytest.approx(entry["rho"], abs=_TOLERANCE)
        two_sided = exact_p(design, *design.thresholds("two-sided"))[0]
        assert two_sided == pytest.approx(entry["p_two_sided"], abs=_TOLERANCE)
        if "p_greater" in entry:
            greater = exact_p(design, *design.thresholds("greater"))[0]
            assert greater == pytest.approx(entry["p_greater"], abs=_TOLERANCE)


def test_stratified_statistic_and_its_p(recorded: dict[str, Any]) -> None:
    for entry in recorded["stratified"]:
        x = np.array(entry["x"])[:, None]
        design = rank_design(x, entry["y"], entry["site"])
        assert spearman(x, entry["y"])[0] == pytest.approx(entry["rho_pooled"], abs=_TOLERANCE)
        assert design.rho[0] == pytest.approx(entry["rho_stratified"], abs=_TOLERANCE)
        expected = pytest.approx(entry["p_two_sided_within_site"], abs=_TOLERANCE)
        assert exact_p(design, *design.thresholds("two-sided"))[0] == expected
        assert permutation_test(design, "two-sided", draws=99, entropy=(0,)).p[0] == expected


def test_bonett_wright_interval(recorded: dict[str, Any]) -> None:
    # The recorded ends were made with the normal quantile rounded to nine decimals: with that quantile they hold to
    # 1e-12. The exact quantile, which the product uses, is 4.6e-10 smaller; an end moves by at most SE times that.
    rounded = 1.959963985
    for entry in recorded["bonett_wright"]:
        r, n = entry["r"], entry["n"]
        error = ((1 + r * r / 2) / (n - 3)) ** 0.5
        z = np.arctanh(r)
        assert np.tanh([z - rounded * error, z + rounded * error]) == pytest.approx(entry["ci95"], abs=_TOLERANCE)
        moved = error * (rounded - norm.ppf(0.975))
        assert correlation_interval(r, n) == pytest.approx(entry["ci95"], abs=moved)


def test_share_of_the_lot_in_the_cluster(recorded: dict[str, Any]) -> None:
    for entry in recorded["share"]:
        cells = np.array(entry["cluster"])[:, None]
        assert shares(cells, np.array(entry["total"]))[:, 0].tolist() == entry["share_of_lot"]
        of_the_cluster = cells[:, 0] / cells.sum()
        assert (doubled_ranks(of_the_cluster) == 10 - doubled_ranks(entry["share_of_lot"])).all()


def test_unassigned_stays_in_the_total(recorded: dict[str, Any]) -> None:
    for entry in recorded["unassigned_stays_in_the_total"]:
        share = shares(np.array(entry["cluster"])[:, None], np.array(entry["total"]))[:, 0]
        assert share.tolist() == entry["share"]
        assert (doubled_ranks(share) // 2).tolist() == entry["rank"]


def test_rank_of_the_log_ratio_is_not_that_of_the_share(recorded: dict[str, Any]) -> None:
    for entry in recorded["clr"]:
        parts = np.array(entry["P"])
        logs = centred_log_ratios(parts, np.full(len(parts), 1_000.0))
        assert (doubled_ranks(parts[:, 0]) // 2).tolist() == entry["proportion_rank_of_part_0"]
        assert (doubled_ranks(logs[:, 0]) // 2).tolist() == entry["clr_rank_of_part_0"]


def test_relative_potency(recorded: dict[str, Any]) -> None:
    for entry in recorded["relative_potency"]:
        run = Run(replicates=tuple(entry["lot_replicates"]), reference=tuple(entry["reference_replicates"]))
        assert log_relative_potency([run]) == pytest.approx(entry["log_relative_potency"], abs=_TOLERANCE)


def test_permutation_p_counts_the_observed_order(recorded: dict[str, Any]) -> None:
    # A perfect association of 40 units: no draw reaches it.
    y = np.arange(40.0)
    for entry in recorded["permutation_p"]:
        assert entry["exceedances"] == 0
        design = rank_design(np.stack([y, y[::-1]], axis=1), y, np.zeros(40))
        test = permutation_test(design, "two-sided", draws=entry["B"], entropy=(1,))
        assert test.method == "permutation"
        assert test.p.tolist() == [entry["p"]] * 2


def test_every_order_gives_what_the_dynamic_programme_counts(recorded: dict[str, Any]) -> None:
    for entry in recorded["exact_spearman_p"][:4]:
        design = rank_design(np.array(entry["x"])[:, None], entry["y"], np.zeros(len(entry["x"])))
        tally = tally_permutations(design, "two-sided", every_order(design))
        assert tally.column[0] / tally.orders == exact_p(design, *design.thresholds("two-sided"))[0]
