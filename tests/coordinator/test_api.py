"""The analysis for a notebook, on real tables with known answers."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from coordinator.api import StudyAnswer, study_association
from protocol.plan import ValidationPlan
from protocol.results import VerdictCode
from shared.errors import InputError, ProblemsError


@pytest.fixture(scope="module")
def kang_potency(real_data: Path) -> pd.Series:
    frame = pd.read_csv(real_data / "kang_potency.csv", dtype={"donor": str})
    return frame.set_index("donor")["potency_CXCL10_CPM"].rename("CXCL10")


@pytest.fixture(scope="module")
def kang(real_data: Path, kang_potency: pd.Series) -> StudyAnswer:
    counts = pd.read_csv(real_data / "kang2017_counts.csv")
    counts = counts[counts["condition"] == "ctrl"].drop(columns="condition")
    counts["lot"] = counts.pop("donor").str.removeprefix("ctrlSNG-")
    return study_association(counts, kang_potency, unit="CPM")


@pytest.mark.real_data
def test_the_full_experiment_finds_the_monocytes(kang: StudyAnswer) -> None:
    best = kang.table.iloc[0]
    assert best["cluster"] == "CD14+ Monocytes"
    assert best["rho"] == pytest.approx(0.976, abs=5e-4)
    assert best["p_value"] == 16 / 40_320  # .0004
    assert (best["method"], best["method_adjusted"]) == ("exact", "exact")
    assert kang.results.verdicts[0].clusters == ("CD14+ Monocytes",)
    assert "rises with CXCL10 over 8 lots at 1 site" in str(kang)


@pytest.mark.real_data
def test_the_small_sample_is_not_significant_over_thirteen_types(real_data: Path, kang_potency: pd.Series) -> None:
    obs = anndata.read_h5ad(real_data / "kang_ifnb.h5ad", backed="r").obs
    control = obs[obs["condition"] == "ctrl"]
    counts = pd.crosstab(control["donor"].astype(str), control["cell_type"].astype(str))
    answer = study_association(counts.rename_axis("lot"), kang_potency, unit="CPM")
    monocytes = answer.table.set_index("cluster").loc["CD14 Mono"]
    assert monocytes["rho"] == pytest.approx(0.857, abs=5e-4)
    assert monocytes["p_value"] == pytest.approx(0.0107, abs=5e-5)
    assert monocytes["method"] == "exact"
    assert len(answer.table) == 13
    assert not answer.table["significant"].any()
    verdict = answer.results.verdicts[0]
    assert verdict.code is VerdictCode.NOT_FOUND
    assert verdict.sentence.startswith("Not significant after correction over the 13 clusters")


@pytest.mark.real_data
def test_pbmc_of_young_and_old_donors_agree_with_the_published_top_types(real_data: Path) -> None:
    # propeller, docs/RealDataAnalysis.html: CD8.Naive lower and CD16 higher in old donors are the first two.
    table = pd.read_csv(real_data / "hca_pbmc_props.csv")
    age = pd.Series(table["age"].map({"young": 1.0, "old": 2.0}).to_numpy(), index=table["sample"], name="age")
    counts = table.rename(columns={"sample": "lot"}).drop(columns=["age", "sex"])
    answer = study_association(counts, age, unit="group", shares=True)
    assert answer.table["cluster"].tolist()[:2] == ["CD8.Naive", "CD16"]
    assert answer.table["rho"].iloc[0] < 0 < answer.table["rho"].iloc[1]
    assert answer.results.verdicts[0].clusters[0] == "CD8.Naive"
    assert answer.table["reliability_share"].isna().all()  # shares alone say nothing of their counts


@pytest.mark.real_data
def test_developing_hearts_agree_with_the_published_top_types(real_data: Path) -> None:
    # propeller: the trend over fetal, young and adult is strongest in immune cells (up) and cardiomyocytes (down).
    table = pd.read_csv(real_data / "heart_dev_counts.csv")
    stage = table["group"].map({"fetal": 1.0, "young": 2.0, "adult": 3.0})
    counts = table.rename(columns={"Sample": "lot"}).drop(columns=["group", "sex"])
    answer = study_association(counts, pd.Series(stage.to_numpy(), index=counts["lot"], name="stage"), unit="step")
    assert answer.table["cluster"].tolist()[:2] == ["Immune cells", "Cardiomyocytes"]
    assert answer.table["rho"].iloc[0] > 0 > answer.table["rho"].iloc[1]


def _counts(n: int = 8, sites: int = 2) -> pd.DataFrame:
    driver = np.arange(n) * 10 + 20
    other = np.array([70, 20, 90, 40, 10, 60, 30, 80])[:n]
    return pd.DataFrame(
        {
            "lot": [f"l{i}" for i in range(n)],
            "site": [f"s{i % sites}" for i in range(n)],
            "driver": driver,
            "other": other,
            "rest": 1_000 - driver - other,
        }
    )


def _potency(n: int = 8) -> pd.Series:
    return pd.Series(np.exp(np.arange(n) / 3.0), index=[f"l{i}" for i in range(n)], name="VEGF")


def test_a_series_needs_its_unit_and_a_table_has_its_own() -> None:
    with pytest.raises(InputError, match="expected the unit"):
        study_association(_counts(), _potency())
    table = pd.DataFrame({"lot": _potency().index, "assay": "VEGF", "value": _potency().to_numpy(), "unit": "pg/mL"})
    with pytest.raises(InputError, match="as an argument too"):
        study_association(_counts(), table, unit="pg/mL")
    pd.testing.assert_frame_equal(
        study_association(_counts(), table).table, study_association(_counts(), _potency(), unit="pg/mL").table
    )


def test_lots_may_be_the_index_and_the_site_may_be_one() -> None:
    counts = _counts().drop(columns="site").set_index("lot")
    answer = study_association(counts, _potency(), unit="pg/mL")
    assert answer.results.lots.sites == 1
    assert answer.table.iloc[0]["cluster"] == "driver"


def test_numbered_lots_with_gaps_are_the_same_lots() -> None:
    counts = _counts().assign(lot=range(101, 109))
    wells = pd.DataFrame({"lot": [*range(101, 109), np.nan], "assay": "VEGF", "unit": "pg/mL"})
    wells["value"] = [*_potency().to_numpy(), 2.0]
    wells["is_reference"] = [False] * 8 + [True]
    answer = study_association(counts, wells)
    assert answer.results.endpoints[0].scale == "ln relative potency"
    assert answer.plot(most=1).axes[0].get_ylabel() == "VEGF [ln of the ratio to the reference]"
    assert answer.results.lots.n == 8


def test_shares_come_with_unassigned() -> None:
    shares = study_association(_counts(), _potency(), unit="pg/mL").shares
    assert shares.columns.tolist() == ["driver", "other", "rest", "unassigned"]
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)


def test_a_family_can_be_named_and_its_sensitivity_still_knows_the_whole() -> None:
    answer = study_association(_counts(), _potency(), unit="pg/mL", clusters=("driver",))
    assert answer.table["cluster"].tolist() == ["driver"]
    assert answer.table["p_adjusted"].tolist() == answer.table["p_value"].tolist()
    assert answer.table["rho_clr"].notna().all()
    with pytest.raises(InputError, match="found nobody"):
        study_association(_counts(), _potency(), unit="pg/mL", clusters=("nobody",))


def test_a_validation_cohort_is_tested_in_the_discovered_direction() -> None:
    more = _counts().assign(lot=lambda frame: "v" + frame["lot"], cohort="validation", tissue="bone marrow")
    counts = pd.concat([_counts().assign(cohort="discovery", tissue="bone marrow"), more])
    values = pd.concat([_potency(), _potency().rename(index=lambda lot: f"v{lot}")]).rename("VEGF")
    answer = study_association(counts, values, unit="pg/mL", validation=ValidationPlan(minimum_share=0.01))
    row = answer.validation.iloc[0]
    assert (row["cluster"], row["alternative"], row["holds"]) == ("driver", "greater", True)


def test_problems_of_frames_name_the_row() -> None:
    counts = _counts()
    counts.loc[3, "driver"] = -1
    with pytest.raises(ProblemsError, match="counts, row 3, column driver"):
        study_association(counts, _potency(), unit="pg/mL")


def test_a_plot_shows_each_cluster_by_site() -> None:
    figure = study_association(_counts(), _potency(), unit="pg/mL").plot(most=2)
    assert [axes.get_title().split("\n")[0] for axes in figure.axes] == ["driver", "rest"]
    assert len(figure.axes[0].collections) == 2  # one a site
    points = np.concatenate([np.asarray(c.get_offsets()) for c in figure.axes[0].collections])
    np.testing.assert_allclose(np.sort(points[:, 0]), np.arange(8) + 2.0)  # per cent


def test_there_is_no_plot_of_a_refusal_or_of_an_unknown_endpoint() -> None:
    answer = study_association(_counts(2), _potency(2), unit="pg/mL")
    assert answer.results.verdicts[0].code is VerdictCode.REFUSED
    assert answer.table.empty
    with pytest.raises(InputError, match="refusal"):
        answer.plot()
    with pytest.raises(InputError, match="expected an endpoint"):
        answer.plot("nothing")
