"""Every vector does what its line says, and every rule that is cited stands in SPEC.md."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

import protocol
from protocol.codec import decode
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Sha256, SiteId, StudyId
from protocol.queries import Query, ReplayWindow, check_answer, check_asks_for, check_query
from protocol.report import LotReport
from protocol.roster import Roster, SiteKey, open_answer, open_query, open_report
from protocol.signing import SigningKey

VECTORS = Path(__file__).parent / "vectors"
LISTED = json.loads((VECTORS / "vectors.json").read_text())
ROOT = Path(protocol.__file__).parents[1]
NOW = datetime(2026, 11, 20, 8, 30, tzinfo=UTC)


@pytest.fixture
def roster(coordinator_key: SigningKey, site_key: SigningKey, stranger_key: SigningKey) -> Roster:
    return Roster(
        study=StudyId("vegf-2026"),
        coordinator=coordinator_key.verifying_key.to_hex(),
        sites=(
            SiteKey(site=SiteId("kyoto"), key=site_key.verifying_key.to_hex()),
            SiteKey(site=SiteId("leiden"), key=stranger_key.verifying_key.to_hex()),
        ),
    )


def _receive_query(data: bytes, roster: Roster) -> None:
    query = open_query(data, roster.coordinator_key()).message
    check_query(query, site="kyoto", now=NOW)
    check_asks_for(query, study=StudyId("vegf-2026"), plan_sha256=Sha256("b" * 64), atlas_sha256=Sha256("a" * 64))
    seen = ReplayWindow(frozenset({("f" * 32, "2026-11-20T09:00:00Z")}))
    seen.take(query, now=NOW)


def _receive_answer(data: bytes, roster: Roster) -> None:
    payload = (VECTORS / "query.bin").read_bytes()
    query = decode(Query, payload, limit=PAYLOAD_LIMITS[PayloadType.QUERY])
    answer = open_answer(data, roster, "kyoto").message
    reports = [(VECTORS / "report_envelope.bin").read_bytes()]
    check_answer(answer, query=query, query_payload=payload, report_envelopes=reports)


def _receive(how: str, data: bytes, roster: Roster) -> None:
    match how:
        case "message":
            decode(Query, data, limit=PAYLOAD_LIMITS[PayloadType.QUERY])
        case "report-message":
            decode(LotReport, data, limit=PAYLOAD_LIMITS[PayloadType.LOT_REPORT])
        case "query":
            _receive_query(data, roster)
        case "answer":
            _receive_answer(data, roster)
        case "report":
            open_report(data, roster, "kyoto")
        case _:
            pytest.fail(f"no such way to open a vector: {how}")


@pytest.mark.parametrize("vector", LISTED, ids=lambda vector: vector["file"])
def test_a_vector_is_taken_or_refused_as_listed(vector: dict[str, str], roster: Roster) -> None:
    data = (VECTORS / vector["file"]).read_bytes()
    if vector["outcome"] == "ok":
        _receive(vector["opened_as"], data, roster)
        return
    with pytest.raises(ProtocolError) as caught:
        _receive(vector["opened_as"], data, roster)
    assert caught.value.code is ErrorCode(vector["outcome"])


def test_every_file_is_listed_and_the_bad_ones_are_called_so() -> None:
    assert {vector["file"] for vector in LISTED} == {path.name for path in VECTORS.glob("*.bin")}
    assert all(vector["file"].startswith("bad_") == (vector["outcome"] != "ok") for vector in LISTED)


def _rules() -> set[str]:
    return set(re.findall(r"^(\d\.\d+) \*\*", (ROOT / "protocol" / "SPEC.md").read_text(), re.MULTILINE))


def test_every_rule_about_what_is_received_has_a_bad_vector() -> None:
    broken = {vector["rule"] for vector in LISTED if vector["outcome"] != "ok"}
    # 3.1 and 3.3 are about documents and files, 3.8 about Flower, 4.7 about a report beside its plan; each has tests.
    elsewhere = {"3.1", "3.3", "3.8", "4.7"}
    assert {rule for rule in _rules() if rule[0] in "1234"} - elsewhere == broken


def test_every_rule_that_code_cites_stands_in_the_specification() -> None:
    cited = {
        rule
        for package in ("protocol", "site_agent", "coordinator", "simulations")
        for path in (ROOT / package).rglob("*.py")
        for group in re.findall(r"SPEC (\d\.\d+(?:(?: to|,| and) \d\.\d+)*)", path.read_text())
        for rule in re.findall(r"\d\.\d+", group)
    }
    assert cited
    assert cited <= _rules()


def test_every_code_that_the_specification_names_is_in_the_catalogue() -> None:
    text = (ROOT / "protocol" / "SPEC.md").read_text()
    named = {
        code
        for group in re.findall(r"\((`[a-z0-9-]+`(?:, `[a-z0-9-]+`)*)\)", text)
        for code in re.findall(r"[a-z0-9-]+", group)
    }
    assert named <= set(ErrorCode)
    assert len(named) > 25
