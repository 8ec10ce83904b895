"""``enrich``: a made GMT file against a study's markers; bad files are told line by line."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from coordinator.cli import main
from coordinator.modules.gene_sets import enriched_sets, read_gene_sets
from coordinator.written import results_json
from protocol.modules.markers_results import ClusterMarkers, MarkerRow, MarkersResults
from protocol.plan import Alternative, Strata
from protocol.results import LotCounts, ResultSet, StudyCard
from shared.errors import InputError, ProblemsError


def _row(number: int) -> MarkerRow:
    is_marker = number < 6
    nothing = dict.fromkeys(
        ("ci_low", "ci_high", "t", "p_sign_flip", "mean", "mean_rest", "share", "share_rest", "cell_t"), None
    )
    return MarkerRow(
        gene=f"G{number}",
        n_lots=6,
        n_units=6,
        difference=1.0 if is_marker else -0.1,
        p_value=0.001 if is_marker else 0.5,
        q_value=0.01 if is_marker else 0.6,
        significant=is_marker,
        log2_fold_change=None,
        log2_fold_change_of_means=None,
        **nothing,  # type: ignore[arg-type] # all of them may be None
    )


MARKERS = MarkersResults(
    n_lots=6,
    n_lots_without=0,
    genes=30,
    minimum_cells=20,
    clusters=(ClusterMarkers(cluster="c3", n_lots=6, cells=600, rows=tuple(map(_row, range(30)))),),
)


def _results(markers: MarkersResults | None = MARKERS) -> bytes:
    card = StudyCard.model_validate(
        {
            "study": "s", "title": "t", "question": "q", "plan_sha256": None, "atlas_name": None, "atlas_sha256": None,
            "alpha": 0.05, "confidence": 0.95, "alternative": Alternative.GREATER, "strata": Strata.NONE,
            "multiplicity": "max-t", "draws": 99, "seed": 1, "software": "crosslot",
        }
    )  # fmt: skip
    lots = LotCounts(n=6, n_units=6, sites=1, strata=1)
    return results_json(ResultSet(study=card, endpoints=(), lots=lots, verdicts=(), associations=(), markers=markers))


def _run(tmp_path: Path, gmt: str, *more: str, markers: MarkersResults | None = MARKERS) -> tuple[int, str]:
    (tmp_path / "results.json").write_bytes(_results(markers))
    (tmp_path / "sets.gmt").write_text(gmt)
    arguments = ["enrich", str(tmp_path / "results.json"), "--gmt", str(tmp_path / "sets.gmt"), *more]
    result = CliRunner().invoke(main, arguments)
    return result.exit_code, result.output


GMT = "hit\tmade up\tG0\tG1\tG2\tG3\tELSEWHERE\nmiss\t\tG20\tG21\nfar\tmade up\tX1\tX2\n"


def test_a_set_full_of_markers_comes_first_and_one_outside_the_background_is_not_tested(tmp_path: Path) -> None:
    code, output = _run(tmp_path, GMT, "--json", "--out", str(tmp_path / "out.csv"))
    assert code == 0
    sets = [each for each in json.loads(output)["sets"] if each["direction"] == "higher"]
    assert [each["gene_set"] for each in sets] == ["hit", "miss"]
    assert (sets[0]["overlap"], sets[0]["in_background"], sets[0]["markers"], sets[0]["background"]) == (4, 4, 6, 30)
    assert sets[0]["p_value"] == pytest.approx(15 / 27_405)  # C(6, 4) / C(30, 4)
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("c3,higher,hit,4,")


def test_people_are_told_what_the_background_is(tmp_path: Path) -> None:
    code, output = _run(tmp_path, GMT)
    assert code == 0
    assert "30 genes of the study's allow-list, not the genome" in output


@pytest.mark.parametrize(
    ("gmt", "said"),
    [
        ("one two three\n", "line 1: expected a name, a description and genes, divided by tabs, found 1 part"),
        ("a\tb\tG1\na\tb\tG2\n", "line 2: expected each set once, found a again"),
        ("", "expected gene sets, found none"),
        ("far\tmade up\tX1\tX2\n", "at least 2 of the genes that the study tested"),
    ],
)
def test_a_bad_file_is_told(tmp_path: Path, gmt: str, said: str) -> None:
    code, output = _run(tmp_path, gmt)
    assert code == 1
    assert said in " ".join(output.split())


def test_results_without_markers_and_unknown_clusters_are_told(tmp_path: Path) -> None:
    assert "expected results with markers" in _run(tmp_path, GMT, markers=None)[1]
    with pytest.raises(InputError, match="expected one of c3, found c9"):
        enriched_sets(MARKERS, {"hit": ["G0", "G1"]}, alpha=0.05, cluster="c9")


def test_every_bad_line_is_told_at_once() -> None:
    with pytest.raises(ProblemsError) as found:
        read_gene_sets(b"x\ny\n", name="s.gmt")
    assert len(found.value.problems) == 2
    with pytest.raises(InputError, match="UTF-8"):
        read_gene_sets(b"\xff\xfe", name="s.gmt")
