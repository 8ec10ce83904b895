"""``qualify`` and ``monitor`` as a site runs them: real cells, exit codes, pages, and no connection opened."""

import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import anndata as ad
import numpy as np
import pytest
from click.testing import CliRunner, Result

from coordinator.atlas_signing import manifest_of
from protocol.identifiers import SiteId
from protocol.plan import QualityLimits
from shared.atlas.artefact import to_bytes
from site_agent.cli import main
from site_agent.home import create_home
from site_agent.qualification.judgement import QualificationVerdict, ReasonCode
from site_agent.qualification.records import append_record, read_records
from tests.site_agent.qualification.specifications import make_specification, sealed
from tests.site_agent.qualification.test_records import make_record
from tests.study_parts import COORDINATOR, STRANGER
from tests.study_with_cells import cell_study

OPEN = QualificationVerdict.CANNOT_BE_JUDGED
PASSPHRASE = "long enough"  # noqa: S105 - of a key that protects nothing


@dataclass(frozen=True)
class Bench:
    """A folder with lots of known make, their atlas, a signed specification and the coordinator's public key."""

    folder: Path

    def run(self, command: str, *options: str) -> Result:
        return CliRunner().invoke(main, [command, *options])

    def qualify(self, lot: str, *options: str, specification: str = "specification.json") -> Result:
        own = self.folder
        return self.run(
            "qualify",
            str(own / f"{lot}.h5ad"),
            *("--atlas", str(own / "a.atlas"), "--specification", str(own / specification)),
            *("--records", str(own / "qualified.jsonl"), "--out", str(own / "page.html")),
            *(() if "--home" in options else ("--coordinator-key", str(own / "key.pub"))),
            *options,
        )

    @property
    def page(self) -> str:
        return (self.folder / "page.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, study = tmp_path_factory.mktemp("lots"), cell_study()
    cells = study.cells
    kinds = cells.obs["kind"].to_numpy().astype(str)
    beta, others = np.flatnonzero(kinds == "beta"), np.flatnonzero(kinds != "beta")

    def lot(name: str, n_beta: int, n_others: int) -> None:
        rows = np.sort(np.concatenate([beta[:n_beta], others[:n_others]]))
        cells[rows].copy().write_h5ad(folder / f"{name}.h5ad")

    lot("much", 40, 60)
    lot("little", 10, 90)
    lot("tiny", 8, 12)
    lot("pure", 80, 20)
    rng = np.random.default_rng(3)
    rates = np.repeat(rng.gamma(0.8, 2.0, (60, cells.n_vars)), 10, axis=0)  # sixty kinds that the atlas does not know
    strange = ad.AnnData(rng.poisson(rates).astype(np.float32), var=cells.var.copy())
    strange.obs_names = [f"strange{number}" for number in range(strange.n_obs)]
    known = cells[np.sort(np.concatenate([beta[:80], others[:60]]))]
    ad.concat([strange, known], merge="same").write_h5ad(folder / "strange.h5ad")
    atlas = to_bytes(study.atlas)
    (folder / "a.atlas").write_bytes(atlas)
    specification = make_specification(
        atlas=manifest_of(atlas).reference(), quality=QualityLimits(minimum_cells_per_lot=50), unassigned_limit=0.2
    )
    (folder / "specification.json").write_bytes(sealed(specification))
    strict = specification.model_copy(
        update={"basis": specification.basis.model_copy(update={"unassigned_limit": 0.0})}
    )
    (folder / "strict.json").write_bytes(sealed(strict))
    (folder / "forged.json").write_bytes(sealed(specification, STRANGER))
    (folder / "elsewhere.json").write_bytes(sealed(make_specification()))
    (folder / "key.pub").write_text(COORDINATOR.verifying_key.to_hex() + "\n")
    return folder


@pytest.fixture
def bench(made: Path) -> Iterator[Bench]:
    yield Bench(made)
    for name in ("qualified.jsonl", "page.html"):
        (made / name).unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("lot", "code", "verdict", "reasons"),
    [
        ("much", 0, "pass", []),
        ("little", 1, "fail", ["share-below-threshold"]),
        ("tiny", 1, "cannot-be-judged", ["too-few-cells"]),
        ("pure", 1, "cannot-be-judged", ["share-beyond-range"]),
    ],
)
def test_a_lot_passes_fails_or_cannot_be_judged(
    bench: Bench, lot: str, code: int, verdict: str, reasons: list[str]
) -> None:
    done = bench.qualify(lot, "--tissue", "bone marrow", "--made", "2026-11-20", "--json")
    assert done.exit_code == code, done.output
    said = json.loads(done.stdout)
    assert (said["success"], said["verdict"], said["meets"]) == (True, verdict, verdict == "pass")
    assert [reason["code"] for reason in said["reasons"]] == reasons
    record = read_records(bench.folder / "qualified.jsonl")[0]
    assert said["record"]["share"] == record.share
    assert (record.lot, record.made, record.verdict.value) == (lot, "2026-11-20", verdict)
    assert said["word"] in bench.page


def test_cells_outside_every_cluster_are_held_against_those_of_the_study(bench: Bench) -> None:
    said = json.loads(bench.qualify("strange", "--json", specification="strict.json").stdout)
    assert said["record"]["unassigned_share"] > 0
    assert said["verdict"] == "cannot-be-judged"
    assert "novel-cells" in {reason["code"] for reason in said["reasons"]}


def test_nothing_is_sent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any, **_options: Any) -> NoReturn:  # noqa: ANN401 - whatever a socket is asked for
        raise AssertionError("a connection was about to be opened")

    for name in ("connect", "connect_ex", "bind", "sendto", "send", "sendall"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert bench.qualify("much").exit_code == 0
    assert "Nothing was sent" in bench.page
    out = bench.folder / "page.html"
    charted = bench.run("monitor", "--records", str(bench.folder / "qualified.jsonl"), "--out", str(out))
    assert charted.exit_code == 0, charted.output


def test_the_page_loads_nothing_and_shows_hashes_rates_and_past_lots(bench: Bench) -> None:
    assert bench.qualify("much", "--lot", "L-1", "--made", "2026-01-01").exit_code == 0
    done = bench.qualify("little", "--lot", "<L-2>", "--product", "MSC & co", "--made", "2026-02-01")
    assert done.exit_code == 1
    page = bench.page
    assert "default-src &#39;none&#39;" in page
    assert "<script" not in page
    assert "&lt;L-2&gt;" in page
    assert "MSC &amp; co" in page
    for words in (
        "Does not meet the specification", "supports, and does not replace, the release decision", "32 donors",
        "False pass", "False fail", "1 earlier lot of this site", "Record SHA-256", "Signed by the key",
    ):  # fmt: skip
        assert words in page
    assert COORDINATOR.fingerprint in page
    assert "http:" not in page
    assert "https:" not in page


def test_the_pinned_key_of_the_sites_home_is_believed(bench: Bench, tmp_path: Path) -> None:
    home = tmp_path / "home"
    create_home(home, site=SiteId("kyoto"), coordinator=COORDINATOR.verifying_key, passphrase=PASSPHRASE)
    assert bench.qualify("much", "--home", str(home)).exit_code == 0
    other = tmp_path / "other"
    create_home(other, site=SiteId("kyoto"), coordinator=STRANGER.verifying_key, passphrase=PASSPHRASE)
    assert bench.qualify("much", "--home", str(other)).exit_code == 2


@pytest.mark.parametrize(
    ("specification", "options", "words"),
    [
        ("forged.json", (), "expected a specification signed by"),
        ("elsewhere.json", (), "as it was signed"),
        ("key.pub", (), "expected a specification signed by the coordinator"),
        ("absent.json", (), "signed specification"),
        ("specification.json", ("--made", "20.11.2026"), "expected a day"),
        ("specification.json", ("--lot", " "), "printable name"),
        ("specification.json", ("--where", "kind"), "column=value"),
    ],
)
def test_bad_input_is_named_and_exits_with_two(
    bench: Bench, specification: str, options: tuple[str, ...], words: str
) -> None:
    done = bench.qualify("much", *options, specification=specification)
    assert done.exit_code == 2
    assert words in done.stderr
    assert not (bench.folder / "page.html").exists()
    assert not (bench.folder / "qualified.jsonl").exists()


def test_without_a_key_nothing_is_believed(bench: Bench) -> None:
    own = bench.folder
    done = bench.run(
        "qualify", str(own / "much.h5ad"), "--atlas", str(own / "a.atlas"),
        "--specification", str(own / "specification.json"), "--out", str(own / "page.html"),
    )  # fmt: skip
    assert done.exit_code == 2
    assert "whose signature" in done.stderr


def test_monitor_draws_no_limits_below_twenty_lots_and_signals_above(bench: Bench) -> None:
    path, out = bench.folder / "qualified.jsonl", bench.folder / "page.html"
    shares = [0.4 + 0.01 * ((7 * number) % 5 - 2) for number in range(20)]
    for number, share in enumerate(shares[:19]):
        append_record(
            path, make_record(f"L{number:02d}", f"2025-{1 + number // 2:02d}-{1 + number % 2:02d}", share=share)
        )
    few = bench.run("monitor", "--records", str(path), "--out", str(out), "--json")
    assert json.loads(few.stdout)["limits"] is None
    assert "No control limit is drawn" in bench.page
    for number, share in ((19, shares[19]), (20, 0.7)):
        append_record(path, make_record(f"L{number:02d}", "2026-01-01", share=share))
    append_record(path, make_record("other", "2026-02-01", cluster="alpha", share=0.1))
    append_record(path, make_record("L21", "2026-03-01", share=0.41))
    done = json.loads(bench.run("monitor", "--records", str(path), "--out", str(out), "--json").stdout)
    assert done["outside"] == ["L20"]
    assert (done["lots"], done["left_out"]) == (22, 1)
    assert "control limits are not specification limits" in bench.page


def test_monitor_leaves_out_lots_whose_share_was_not_certain(bench: Bench) -> None:
    path, out = bench.folder / "qualified.jsonl", bench.folder / "page.html"
    append_record(path, make_record("L1", share=0.4))
    append_record(path, make_record("L2", share=0.9, verdict=OPEN, reasons=(ReasonCode.NOVEL_CELLS,)))
    append_record(path, make_record("L3", share=0.7, verdict=OPEN, reasons=(ReasonCode.BEYOND_RANGE,)))
    done = json.loads(bench.run("monitor", "--records", str(path), "--out", str(out), "--json").stdout)
    assert (done["lots"], done["left_out"]) == (2, 1)


def test_monitor_without_lots_says_what_to_do(bench: Bench) -> None:
    done = bench.run("monitor", "--records", str(bench.folder / "none.jsonl"), "--out", "page.html")
    assert done.exit_code == 1
    assert "qualify lots first" in done.stderr
