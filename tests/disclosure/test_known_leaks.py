"""Leaks that others have had, by name, each tried on this product; and that only the gate and the wire can send."""

import ast
import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

import site_agent
from protocol.codec import encode
from protocol.exchange import Reply
from protocol.identifiers import Sha256
from protocol.policy import effective
from protocol.report import Count, LotReport
from site_agent.cli import main as site_main
from site_agent.release.disclosure import judge
from site_agent.release.earlier_releases import EarlierRelease
from site_agent.release.summaries import pad
from site_agent.release.suppression import implied_bounds, table_of
from site_agent.release.verdicts import Outcome, RuleId
from tests.study_parts import NOW, Site, make_ask, make_plan, make_policy, make_report, rules_of

pytestmark = pytest.mark.disclosure

PLAN = make_plan()
HIDING = make_policy().model_copy(
    update={"thresholds": make_policy().thresholds.model_copy(update={"small_count_threshold": 5})}
)


RULES = effective(HIDING, PLAN)


def _fails(report: LotReport, *earlier: EarlierRelease) -> set[RuleId]:
    verdicts = judge(report, RULES, lots_offered=2, earlier=earlier)
    return {verdict.rule for verdict in verdicts if verdict.outcome is Outcome.FAIL}


def _with(report: LotReport, **changes: object) -> LotReport:
    return pad(report.model_copy(update=changes))


def test_a_sound_report_fails_nothing() -> None:
    assert _fails(make_report(RULES, "BM-01", (600, 300, 3))) == set()


def test_a_derived_column_that_is_not_masked_is_refused() -> None:
    # OHDSI masked counts and left a column that was computed from them: here, the total of the parts.
    report = make_report(RULES, "BM-01", (600, 300, 3))
    assert _fails(_with(report, cells_after_qc=Count.exactly(903))) == {RuleId.TOTALS}


def test_a_threshold_that_is_applied_after_rounding_is_refused() -> None:
    # 3 rounded to the next 5 passes a threshold of 5: redaction must come before rounding.
    report = make_report(RULES, "BM-01", (600, 300, 3))
    rounded = _with(report, counts=(*report.counts[:2], Count.exactly(5)), cells_after_qc=Count.exactly(905))
    narrow = _with(report, counts=(*report.counts[:2], Count(low=3, high=5)), cells_after_qc=Count(low=903, high=905))
    assert RuleId.SMALL_COUNTS not in _fails(rounded)  # no rule can tell 5 from a rounded 3, so:
    assert _fails(narrow) == {RuleId.SMALL_COUNTS}
    assert report.counts[2] == Count(low=1, high=4)  # the summary hides before anything is rounded


def test_checking_only_totals_does_not_suffice() -> None:
    # A filter that looks at a table's total lets every bin through.
    report = make_report(RULES, "BM-01", (600, 300, 3))
    shown = _with(report, counts=tuple(map(Count.exactly, (600, 300, 3))), cells_after_qc=Count.exactly(903))
    assert _fails(shown) == {RuleId.SMALL_COUNTS}


def test_the_single_hidden_cell_is_not_the_rest_of_the_sum() -> None:
    report = make_report(RULES, "BM-01", (600, 300, 3))
    bounds = implied_bounds(table_of(report), (), Sha256("a" * 64))
    assert bounds is not None
    assert bounds.counts[2] == Count(low=1, high=4)


def test_the_difference_of_two_releases_is_a_count_of_its_own() -> None:
    old, new = make_report(RULES, "BM-01", (600, 300, 50)), make_report(RULES, "BM-01", (603, 300, 50))
    earlier = EarlierRelease(report=old, same_cells=False)
    assert _fails(_with(new, version=2), earlier) == {RuleId.EARLIER_RELEASES}


def test_exception_text_with_a_path_and_a_value_stays() -> None:
    def source(_rules: object) -> list[object]:
        raise ValueError("/data/secret/lot-7.h5ad: cell 17 of donor Suzuki has 42 counts")

    site = Site(source)  # type: ignore[arg-type]  # a source that only fails
    reply = site.agent.answer(make_ask(PLAN), NOW)
    assert isinstance(reply, Reply)
    assert "Suzuki" in "".join(site.log)
    for planted in (b"secret", b"Suzuki", b"U3V6dWtp", b"ValueError"):
        assert planted not in reply.answer


MODULES = sorted(Path(site_agent.__file__).parent.rglob("*.py"))
SENDS = (
    "socket", "ssl", "asyncio", "http.client", "http.server", "urllib.request", "ftplib", "smtplib", "xmlrpc",
    "requests", "httpx", "aiohttp", "grpc", "flwr",
)  # fmt: skip
MAY_TALK = {"network", "review/server.py"}
"""The wire, and the review's own page, which listens on this machine alone."""


def _imports(path: Path) -> set[str]:
    """Return the dotted names of all that a module imports, and of each module that they stand in."""
    names = set[str]()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: "/".join(path.parts[-2:]))
def test_no_module_but_the_wire_can_send(path: Path) -> None:
    place = path.relative_to(Path(site_agent.__file__).parent).as_posix()
    if any(place.startswith(allowed) for allowed in MAY_TALK):
        return
    found = {name for name in _imports(path) for sender in SENDS if name == sender or name.startswith(f"{sender}.")}
    assert found == set()


def _calls(path: Path, name: str, argument: str) -> bool:
    """Return whether a module calls ``name`` with ``argument`` in the call."""
    return any(
        isinstance(node, ast.Call) and ast.unparse(node.func).endswith(name) and argument in ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text()))
    )


def test_only_the_gate_seals_a_lot_report() -> None:
    sealing = [path.name for path in MODULES if _calls(path, "seal", "PayloadType.LOT_REPORT")]
    assert sealing == ["gate.py"]
    any_other = [path.name for path in MODULES if _calls(path, "seal", "PayloadType.") and path.name != "gate.py"]
    assert set(any_other) <= {"agent.py"}


def test_an_answer_opens_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[object] = []

    def refuse(*arguments: object) -> None:
        tried.append(arguments)
        raise OSError("no connection in this test")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    site = Site()
    assert isinstance(site.agent.answer(make_ask(PLAN), NOW), Reply)
    assert CliRunner().invoke(site_main, ["--help"]).exit_code == 0
    assert tried == []


def test_what_leaves_does_not_grow_with_the_cells() -> None:
    sizes = {
        len(encode(make_report(rules_of(PLAN), "BM-01", counts)))
        for scale in (1, 10, 1_000, 100_000)
        for counts in ((600 * scale, 300, 100), (600, 300 * scale, 9), (601 * scale, 7 * scale, scale))
    }
    assert len(sizes) == 1
