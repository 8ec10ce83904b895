"""Sensitivity of an answer: closure, hidden counts, measurement error, sites, and the sentence that says so."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from coordinator.api import StudyAnswer, study_association
from coordinator.frames import study_tables
from coordinator.units import units_of
from protocol.plan import Strata
from protocol.results import VerdictCode


def _answer(
    columns: dict[str, Sequence[int]], sites: Sequence[str], values: Sequence[float], *, threshold: int | None = None
) -> StudyAnswer:
    lots = [f"l{i:02}" for i in range(len(values))]
    counts = pd.DataFrame({"lot": lots, "site": sites, **columns})
    potency = pd.Series(values, index=lots, name="VEGF")
    return study_association(counts, potency, unit="pg/mL", small_count_threshold=threshold)


def _dragged() -> StudyAnswer:
    """One driver of half of the lot; all other cells split at random: they fall as the driver rises."""
    generator = np.random.default_rng(12)
    driver = np.linspace(200, 800, 14).astype(int)
    split = generator.uniform(0.47, 0.53, 14)
    first = ((1_000 - driver) * split).astype(int)
    return _answer(
        {"driver": driver.tolist(), "first": first.tolist(), "second": (1_000 - driver - first).tolist()},
        ["a"] * 14,
        np.exp(driver / 300).tolist(),
    )


def test_a_cluster_that_closure_drags_along_is_not_found() -> None:
    table = _dragged().table.set_index("cluster")
    assert (table.loc[["driver", "first", "second"], "p_adjusted"] < 0.05).all()
    assert table["significant"].tolist() == [True, False, False]
    assert (table.loc[["first", "second"], "p_after_lead_removal"] > 0.05).all()


def test_the_sentence_says_what_closure_brought_about() -> None:
    verdict = _dragged().results.verdicts[0]
    assert verdict.clusters == ("driver",)
    assert "pass the correction too, but not with driver set aside" in verdict.sentence


def test_a_second_driver_survives_the_removal_of_the_first() -> None:
    generator = np.random.default_rng(3)
    potency = np.arange(16.0)
    one = 100 + 10 * potency.astype(int)
    two = 90 - 4 * generator.permutation(2)[0] - 4 * potency.astype(int)
    noise = generator.integers(100, 300, 16)
    answer = _answer(
        {
            "one": one.tolist(),
            "two": two.tolist(),
            "noise": noise.tolist(),
            "rest": (1_000 - one - two - noise).tolist(),
        },
        ["a"] * 16,
        np.exp(potency / 5).tolist(),
    )
    assert set(answer.results.verdicts[0].clusters) >= {"one", "two"}
    assert "set aside, an association holds for" in answer.results.verdicts[0].sentence


def test_hidden_counts_give_bounds_that_hold_the_headline() -> None:
    rare = [-5, -5, 6, 9, 12, 15, 20, 26]
    answer = _answer({"rare": rare, "rest": [1_000] * 8}, ["a"] * 8, [1.0, 2, 3, 4, 5, 6, 7, 8], threshold=5)
    row = answer.table.set_index("cluster").loc["rare"]
    assert row["rho_low_under_suppression"] <= row["rho"] <= row["rho_high_under_suppression"]
    assert row["rho_high_under_suppression"] == pytest.approx(1.0)
    assert row["rho_low_under_suppression"] < 1.0


def test_nothing_hidden_has_no_bounds() -> None:
    row = _dragged().table.iloc[0]
    assert pd.isna(row["rho_low_under_suppression"])
    assert pd.isna(row["rho_high_under_suppression"])


def test_sites_that_disagree_show_as_heterogeneity() -> None:
    up = np.arange(8)
    answer = _answer(
        {
            "split": (100 + 10 * np.concatenate([up, up[::-1]])).tolist(),
            "rest": (900 - 10 * np.concatenate([up, up[::-1]])).tolist(),
        },
        ["a"] * 8 + ["b"] * 8,
        np.exp(np.tile(up, 2) / 5).tolist(),
    )
    row = answer.table.set_index("cluster").loc["split"]
    assert abs(row["rho"]) < 1e-12
    assert row["heterogeneity_i2"] > 0.8
    assert row["heterogeneity_p"] < 0.01
    assert (row["leave_one_site_out_low"], row["leave_one_site_out_high"]) == (-1.0, 1.0)
    assert not row["leave_one_site_out_sign_holds"]


def test_replicates_give_the_potency_a_reliability_and_a_labelled_disattenuated_rho() -> None:
    generator = np.random.default_rng(5)
    n = 12
    lots = [f"l{i:02}" for i in range(n)]
    cells = generator.integers(40, 160, n)
    counts = pd.DataFrame({"lot": lots, "site": "a", "c0": cells, "rest": 400 - cells})
    level = cells / 100 + generator.normal(0, 0.3, n)
    wells = pd.DataFrame(
        [
            {"lot": lot, "assay": "VEGF", "unit": "pg/mL", "value": float(np.exp(level[i] + e))}
            for i, lot in enumerate(lots)
            for e in generator.normal(0, 0.2, 3)
        ]
    )
    row = study_association(counts, wells).table.set_index("cluster").loc["c0"]
    assert 0.5 < row["reliability_potency"] < 1
    assert 0.5 < row["reliability_share"] < 1
    assert row["rho"] < row["rho_disattenuated"] <= 1


def test_lots_of_one_donor_are_averaged_before_they_are_ranked() -> None:
    counts = pd.DataFrame(
        {"lot": ["a1", "a2", "b1"], "site": "s", "donor": ["a", "a", "b"], "c0": [1, 7, 4], "rest": [9, 3, 6]}
    )
    wells = pd.DataFrame({"lot": ["a1", "a2", "b1"], "assay": "VEGF", "unit": "pg/mL", "value": [1.0, 4.0, 2.0]})
    tables = study_tables(counts, wells)
    units, out = units_of(tables.data, [0, 1, 2], tables.endpoints[0], Strata.SITE, [0])
    assert (out, units.donors) == ([], ("a", "b"))
    assert units.shares[:, 0].tolist() == [0.4, 0.4]  # (.1 + .7) / 2 ties with .4
    assert units.potency[0] == units.potency[1]  # (ln 1 + ln 4) / 2 ties with ln 2


def test_doubling_a_lot_of_a_donor_changes_nothing() -> None:
    generator = np.random.default_rng(9)
    counts = pd.DataFrame(
        {
            "lot": [f"l{i}" for i in range(9)],
            "site": "s",
            "donor": [f"d{i}" for i in range(9)],
            "c0": generator.integers(10, 90, 9),
            "c1": generator.integers(10, 90, 9),
        }
    )
    values = pd.Series(generator.uniform(1, 9, 9), index=counts["lot"], name="VEGF")
    again = counts.iloc[[4]].assign(lot="l4-again")
    more = pd.concat([values, pd.Series([values["l4"]], index=["l4-again"])]).rename("VEGF")
    once = study_association(counts, values, unit="pg/mL").table
    twice = study_association(pd.concat([counts, again]), more, unit="pg/mL").table
    same = ["rho", "p_value", "p_adjusted", "q_value", "ci_low", "ci_high", "n_units"]
    pd.testing.assert_frame_equal(once[same], twice[same])
    assert twice["n_lots"].iloc[0] == 10


def test_a_donor_in_two_strata_is_pointed_out() -> None:
    counts = pd.DataFrame(
        {
            "lot": [f"l{i}" for i in range(8)],
            "site": ["s", "t"] * 4,
            "donor": ["same", "same", *[f"d{i}" for i in range(6)]],
            "c0": [1, 5, 2, 6, 3, 7, 4, 8],
            "c1": [9, 8, 7, 6, 5, 4, 3, 2],
        }
    )
    values = pd.Series(np.arange(1.0, 9.0), index=counts["lot"], name="VEGF")
    results = study_association(counts, values, unit="pg/mL").results
    assert results.warnings[0] == "vegf: donors with lots in several strata count once in each: same"


def test_an_assay_of_two_is_answered_by_itself() -> None:
    lots = [f"l{i}" for i in range(8)]
    counts = pd.DataFrame({"lot": lots, "site": "a", "c0": range(10, 90, 10), "c1": range(90, 10, -10)})
    wells = pd.concat(
        [
            pd.DataFrame({"lot": lots, "assay": "VEGF", "unit": "pg/mL", "value": np.arange(1.0, 9.0)}),
            pd.DataFrame({"lot": lots, "assay": "IDO", "unit": "U/L", "value": 5.0}),
        ]
    )
    results = study_association(counts, wells).results
    assert [verdict.code for verdict in results.verdicts] == [VerdictCode.FOUND, VerdictCode.REFUSED]
    assert results.verdicts[1].reason_code == "no-variation-in-potency"
    assert {row.endpoint for row in results.associations} == {"vegf"}
