"""Whole runs: one h5ad into a study, real agents, an answer; on real lots where they are, and on lots of known make."""

import base64
import csv
import gzip
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner, Result

from coordinator.cli import main as coordinator_main
from protocol.policy import read_policy, write_policy
from shared.atlas.artefact import from_bytes
from simulations.cli import main as simulate_main
from site_agent.cells.mapping import map_cells
from tests.study_with_cells import LOT_NAMES, SITES, write_study

DONORS = ("101", "107", "1015", "1016", "1039", "1244", "1256", "1488")
SECRET_NAME = "Confidential-lot-"  # noqa: S105 - a lot's name, no password
MAXIMUM_REPORT_BYTES = 4096


def simulate(*arguments: object) -> Result:
    return CliRunner().invoke(simulate_main, [str(each) for each in arguments])


def simulated(*arguments: object) -> Result:
    result = simulate(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def results_in(out: Path) -> Any:  # noqa: ANN401 - JSON
    return json.loads((out / "results.json").read_text())


def sent_by_sites(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.glob("sites/*/sent/*"))}


def decoded(data: bytes) -> bytes:
    """Return an envelope's bytes with its payload in clear besides."""
    return data + base64.b64decode(json.loads(data)["payload"])


@dataclass(frozen=True)
class Runs:
    """A study and its runs: the same study run several times."""

    study: Path
    outs: tuple[Path, ...]


def _split_kang(real_data: Path, out: Path, *more: str) -> None:
    simulated(
        *("split", real_data / "kang_ifnb.h5ad", "--lot", "donor", "--where", "condition=ctrl"),
        *("--potency", f"{real_data / 'kang_potency.csv'}:donor:potency_CXCL10_CPM"),
        *("--unit", "CPM", "--assay", "CXCL10", "--sites", 3, "--out", out, *more),
    )


@pytest.fixture(scope="session")
def kang(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Kang by the authors' labels, three donors as reference, run with one thread and with two."""
    folder = tmp_path_factory.mktemp("kang")
    _split_kang(real_data, folder / "study", "--labels", "cell_type", "--reference-lots", "101,107,1015")
    for threads in (1, 2):
        simulated("run", folder / "study", "--out", folder / f"out-{threads}", "--threads", threads)
    return Runs(folder / "study", (folder / "out-1", folder / "out-2"))


@pytest.fixture(scope="session")
def kang_unsupervised(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Kang without labels, every lot as reference, under names that no number can hold by chance."""
    folder = tmp_path_factory.mktemp("kang-unsupervised")
    _split_kang(real_data, folder / "study", "--reference-lots", "all")
    for table in sorted((folder / "study").glob("sites/*/*.csv")):
        rows = list(csv.reader(table.read_text().splitlines()))
        named = {place for place, column in enumerate(rows[0]) if column in {"lot", "donor"}}
        for row in rows[1:]:
            for place in named:
                row[place] = f"{SECRET_NAME}{row[place]}"
        with table.open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
    simulated("run", folder / "study", "--out", folder / "out")
    return Runs(folder / "study", (folder / "out",))


@pytest.fixture(scope="session")
def known(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """The study of known make, run with one thread and with two."""
    folder = tmp_path_factory.mktemp("known")
    study = write_study(folder / "study")
    for threads in (1, 2):
        simulated("run", study, "--out", folder / f"out-{threads}", "--threads", threads)
    return Runs(study, (folder / "out-1", folder / "out-2"))


@pytest.fixture(
    scope="session",
    params=["known", pytest.param("kang", marks=pytest.mark.real_data)],
)
def repeated(request: pytest.FixtureRequest) -> Runs:
    runs = request.getfixturevalue(request.param)
    assert isinstance(runs, Runs)
    return runs


@pytest.fixture(
    scope="session",
    params=[
        "known",
        pytest.param("kang", marks=pytest.mark.real_data),
        pytest.param("kang_unsupervised", marks=pytest.mark.real_data),
    ],
)
def runs(request: pytest.FixtureRequest) -> Runs:
    runs = request.getfixturevalue(request.param)
    assert isinstance(runs, Runs)
    return runs


def test_a_run_leaves_answer_report_and_all_that_crossed(runs: Runs) -> None:
    files = content(runs.outs[0])
    assert {"results.json", "report.html", "coordinator/events.jsonl", "published/plan.json"} <= set(files)
    sites = sorted(path.name for path in (runs.study / "sites").iterdir())
    for site in sites:
        assert f"sites/{site}/sent/answer-1.json" in files
    lots = sum(len((runs.study / "sites" / site / "lots.csv").read_text().splitlines()) - 1 for site in sites)
    assert results_in(runs.outs[0])["lots"]["n"] == lots
    assert sum("-report-" in name for name in files) == lots
    assert sum(name.startswith("coordinator/envelopes/") for name in files) == lots


def test_federated_equals_pooled(runs: Runs) -> None:
    parity = results_in(runs.outs[0])["parity"]
    assert parity["max_abs_count_difference"] == 0
    assert parity["max_abs_rho_difference"] <= 1e-12
    assert parity["same_ranking"] is True


def test_a_run_repeats_to_the_byte_with_one_thread_or_two(repeated: Runs) -> None:
    first, second = map(content, repeated.outs)
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_nothing_is_called_significant_that_is_not_after_correction(runs: Runs) -> None:
    results = results_in(runs.outs[0])
    alpha = results["study"]["alpha"]
    for row in results["associations"]:
        assert not row["significant"] or row["p_adjusted"] <= alpha
        assert row["p_adjusted"] is None or row["p_adjusted"] >= row["p_value"]
    significant = {row["cluster"] for row in results["associations"] if row["significant"]}
    assert {cluster for verdict in results["verdicts"] for cluster in verdict["clusters"]} == significant


@pytest.mark.disclosure
def test_a_report_is_at_most_four_kib(runs: Runs) -> None:
    sizes = {name: len(data) for name, data in sent_by_sites(runs.outs[0]).items() if "-report-" in name}
    assert sizes
    assert max(sizes.values()) <= MAXIMUM_REPORT_BYTES
    assert len(set(sizes.values())) == 1


@pytest.mark.disclosure
def test_what_the_coordinator_holds_of_lots_is_exactly_what_left_the_sites(runs: Runs) -> None:
    left = sorted(data for name, data in sent_by_sites(runs.outs[0]).items() if "-report-" in name)
    kept = sorted(path.read_bytes() for path in (runs.outs[0] / "coordinator" / "envelopes").iterdir())
    assert left == kept


def _names(study: Path) -> set[str]:
    names: set[str] = set()
    for table in study.glob("sites/*/lots.csv"):
        for row in csv.DictReader(table.read_text().splitlines()):
            names |= {row["lot"], row["donor"], row["file"]}
    return names


@pytest.mark.disclosure
@pytest.mark.parametrize("which", ["known", pytest.param("kang_unsupervised", marks=pytest.mark.real_data)])
def test_no_name_of_a_sites_own_leaves_it(which: str, request: pytest.FixtureRequest) -> None:
    runs: Runs = request.getfixturevalue(which)
    out = runs.outs[0]
    names = _names(runs.study)
    assert len(names) > len(SITES)
    seen = {name: decoded(data) for name, data in sent_by_sites(out).items()}
    seen |= {name: (out / name).read_bytes() for name in ("results.json", "report.html", "coordinator/events.jsonl")}
    seen |= {f"published/{path.name}": path.read_bytes() for path in (out / "published").iterdir()}
    seen |= {path.name: decoded(path.read_bytes()) for path in (out / "coordinator" / "envelopes").iterdir()}
    found = {(file, name) for file, data in seen.items() for name in names if name.encode() in data}
    assert found == set()
    assert not any(name in file for file in seen for name in names)


def _analyse(out: Path, target: Path) -> Result:
    published = out / "published"
    arguments = (
        *("analyse", "--plan", published / "plan.json", "--roster", published / "roster.json"),
        *("--coordinator-key", published / "coordinator.pub", "--envelopes", out / "coordinator" / "envelopes"),
        *("--out", target),
    )
    return CliRunner().invoke(coordinator_main, [str(each) for each in arguments])


def test_the_coordinator_alone_gets_the_same_results_but_for_parity(runs: Runs, tmp_path: Path) -> None:
    result = _analyse(runs.outs[0], tmp_path / "again")
    assert result.exit_code == 0, result.stderr
    again, first = results_in(tmp_path / "again"), results_in(runs.outs[0])
    assert again.pop("parity") is None
    assert first.pop("parity") is not None
    assert again == first


@pytest.mark.parametrize("place", [20, 500, -30])
def test_a_flipped_byte_in_any_kept_envelope_is_refused(known: Runs, tmp_path: Path, place: int) -> None:
    out = shutil.copytree(known.outs[0], tmp_path / "out")
    for path in sorted((out / "coordinator" / "envelopes").iterdir()):
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[place] ^= 1
        path.write_bytes(flipped)
        result = _analyse(out, tmp_path / "again")
        assert result.exit_code == 1
        assert path.name in result.stderr
        assert not (tmp_path / "again").exists()
        path.write_bytes(whole)


@pytest.mark.real_data
def test_monocytes_of_the_control_lead_in_what_the_stimulated_make(kang: Runs) -> None:
    # Kang et al. 2018: CXCL10 comes from monocytes. Whether eight lots allow a claim is the correction's to say.
    results = results_in(kang.outs[0])
    top = results["associations"][:3]
    monocytes = next(row for row in top if row["cluster"] == "CD14 Mono")
    assert monocytes["rho"] > 0
    assert monocytes["rho_pooled"] > 0
    assert all(not row["significant"] for row in results["associations"] if row["cluster"] != "CD14 Mono")
    assert results["lots"]["n"] == len(DONORS)
    assert results["lots"]["sites"] == 3


@pytest.mark.real_data
def test_without_labels_the_largest_cluster_of_monocytes_follows_potency_too(kang_unsupervised: Runs) -> None:
    results = results_in(kang_unsupervised.outs[0])
    atlas = from_bytes((kang_unsupervised.study / "reference.atlas").read_bytes())
    monocytes = np.zeros(len(atlas.clusters), dtype=np.int64)
    for path in sorted(kang_unsupervised.study.glob("sites/*/cells/*.h5ad")):
        mapping = map_cells(path, atlas, where=[("cell_type", "CD14 Mono")], threads=1)
        monocytes += mapping.counts()[0]
    assert monocytes.max() > 0.6 * monocytes.sum()
    rho = {row["cluster"]: row["rho"] for row in results["associations"]}
    assert rho[atlas.clusters[int(monocytes.argmax())]] > 0
    assert results["lots"]["n"] == len(DONORS)


def test_the_kind_that_drives_potency_by_make_is_found(known: Runs) -> None:
    results = results_in(known.outs[0])
    assert results["associations"][0]["cluster"] == "beta"
    assert results["associations"][0]["rho"] > 0.9
    assert results["verdicts"][0]["code"] == "found"
    assert "beta" in results["verdicts"][0]["clusters"]


def test_run_prints_the_answer_and_as_json_the_results_file(known: Runs, tmp_path: Path) -> None:
    result = simulated("run", known.study, "--out", tmp_path / "out", "--threads", 1, "--json")
    assert json.loads(result.stdout) == results_in(tmp_path / "out")
    assert "bytes left" in result.stderr


def test_an_earlier_run_is_replaced_and_anything_else_is_not(known: Runs, tmp_path: Path) -> None:
    out = tmp_path / "out"
    simulated("run", known.study, "--out", out, "--threads", 1)
    before = content(out)
    simulated("run", known.study, "--out", out, "--threads", 1)
    assert content(out) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    refused = simulate("run", known.study, "--out", tmp_path / "mine")
    assert refused.exit_code == 1
    assert content(tmp_path / "mine") == {"thesis.txt": b"years of work"}


def _change_policy(study: Path, site: str, change: Callable[[Any], dict[str, object]]) -> None:
    path = study / "sites" / site / "policy.toml"
    policy = read_policy(path.read_bytes())
    path.write_bytes(write_policy(policy.model_copy(update=change(policy))))


def test_a_site_that_refuses_is_named_and_the_others_are_analysed(known: Runs, tmp_path: Path) -> None:
    study = shutil.copytree(known.study, tmp_path / "study")
    _change_policy(study, SITES[0], lambda _policy: {"allowed_studies": (), "auto_approve": ()})
    result = simulate("run", study, "--out", tmp_path / "out", "--threads", 1)
    assert f"{SITES[0]}: refused" in result.stderr
    results = results_in(tmp_path / "out")
    assert (results["lots"]["n"], results["lots"]["sites"]) == (4, 1)
    # The pooled analysis has every lot: what is absent counts as a difference, and is not hidden.
    assert results["parity"]["max_abs_count_difference"] > 0


def test_a_site_whose_steward_has_yet_to_decide_is_told_and_nothing_of_it_leaves(known: Runs, tmp_path: Path) -> None:
    study = shutil.copytree(known.study, tmp_path / "study")
    _change_policy(study, SITES[1], lambda _policy: {"auto_approve": ()})
    result = simulate("run", study, "--out", tmp_path / "out", "--threads", 1)
    assert f"{SITES[1]}: awaiting-steward" in result.stderr
    assert [name for name in sent_by_sites(tmp_path / "out") if SITES[1] in name] == [
        f"sites/{SITES[1]}/sent/answer-1.json"
    ]


def test_where_no_site_delivers_nothing_is_written(known: Runs, tmp_path: Path) -> None:
    study = shutil.copytree(known.study, tmp_path / "study")
    for site in SITES:
        _change_policy(study, site, lambda _policy: {"allowed_coordinators": ()})
    result = simulate("run", study, "--out", tmp_path / "out", "--threads", 1)
    assert result.exit_code == 1
    assert "expected reports of at least one site" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["study"]


def test_pseudonyms_stay_with_the_site_beside_the_names_behind_them(known: Runs) -> None:
    tables = [
        list(csv.DictReader((known.outs[0] / "sites" / site / "pseudonyms.csv").read_text().splitlines()))
        for site in SITES
    ]
    assert sorted(row["lot"] for table in tables for row in table) == sorted(LOT_NAMES)
    pseudonyms = {row["pseudonym"] for table in tables for row in table}
    assert len(pseudonyms) == len(LOT_NAMES)
    kept = {path.name.split("-")[-2] for path in (known.outs[0] / "coordinator" / "envelopes").iterdir()}
    assert kept == pseudonyms


def _as_zarr(path: Path) -> str:
    ad.read_h5ad(path).write_zarr(path.with_suffix(".zarr"))
    return path.with_suffix(".zarr").name


def _in_a_layer(path: Path) -> str:
    cells = ad.read_h5ad(path)
    cells.layers["counts"], cells.X = cells.X.copy(), cells.X * 0.5
    cells.write_h5ad(path)
    return path.name


def _in_raw(path: Path) -> str:
    cells = ad.read_h5ad(path)
    cells.raw = cells
    cells.X = cells.X * 0.5
    cells.write_h5ad(path)
    return path.name


def _as_10x_folder(path: Path) -> str:
    cells, folder = ad.read_h5ad(path), path.with_suffix("")
    folder.mkdir()
    scipy.io.mmwrite(folder / "matrix.mtx", cells.X.T.astype(np.int64))
    rows = zip(cells.var["gene_ids"], cells.var_names, strict=True)
    (folder / "features.tsv").write_text("".join(f"{a}\t{b}\tGene Expression\n" for a, b in rows))
    (folder / "barcodes.tsv").write_text("".join(f"{name}\n" for name in cells.obs_names))
    for name in ("matrix.mtx", "features.tsv", "barcodes.tsv"):
        (folder / f"{name}.gz").write_bytes(gzip.compress((folder / name).read_bytes()))
        (folder / name).unlink()
    return folder.name


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data")  # anndata's, of the test's own writing
@pytest.mark.parametrize(
    ("rewrite", "layer"), [(_as_zarr, ""), (_in_a_layer, "counts"), (_in_raw, "raw"), (_as_10x_folder, "")]
)
def test_the_format_of_the_files_changes_no_answer_and_parity_holds(
    known: Runs, tmp_path: Path, rewrite: Callable[[Path], str], layer: str
) -> None:
    study = shutil.copytree(known.study, tmp_path / "study")
    for site in SITES:
        path = study / "sites" / site / "lots.csv"
        rows = list(csv.DictReader(path.read_text().splitlines()))
        for row in rows:
            row["file"] = f"cells/{rewrite(study / 'sites' / site / row['file'])}"
            row["layer"] = layer
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    simulated("run", study, "--out", tmp_path / "out", "--threads", 1)
    assert results_in(tmp_path / "out") == results_in(known.outs[0])
