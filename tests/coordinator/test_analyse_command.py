"""From collected envelopes to an outcome: each is verified, in any order, and one that does not hold stops it all."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.analyse_command import analyse_study, open_study, read_envelopes, verified_reports
from coordinator.written import results_json, write_outcome
from protocol.envelopes import PayloadType
from protocol.errors import ProtocolError
from protocol.identifiers import SiteId
from protocol.results import VerdictCode
from shared.errors import InputError, ProblemsError
from tests.study_parts import (
    COORDINATOR,
    KYOTO,
    LEIDEN,
    STRANGER,
    STUDY,
    believed,
    key_of,
    make_plan,
    make_report,
    make_roster,
    rules_of,
    signed,
)

PLAN = make_plan()
LOTS: dict[SiteId, list[tuple[str, tuple[int, int, int], float]]] = {
    site: [
        (f"L{number}", (100 + 40 * number, 300 - 40 * number, 90 + number % 2), 100.0 * 2**number)
        for number in range(5)
    ]
    for site in (KYOTO, LEIDEN)
}
ENVELOPES = [
    (
        f"{site}-{lot}.json",
        signed(make_report(rules_of(PLAN, site), lot, counts, potency=potency), PayloadType.LOT_REPORT, key_of(site)),
    )
    for site, lots in LOTS.items()
    for lot, counts, potency in lots
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plan.json").write_bytes(signed(PLAN, PayloadType.STUDY_PLAN))
    (tmp_path / "roster.json").write_bytes(signed(make_roster(PLAN), PayloadType.ROSTER))
    (tmp_path / "coordinator.pub").write_text(COORDINATOR.verifying_key.to_hex() + "\n")
    (tmp_path / "envelopes").mkdir()
    for name, envelope in ENVELOPES:
        (tmp_path / "envelopes" / name).write_bytes(envelope)
    return tmp_path


def paths(folder: Path) -> tuple[Path, Path, Path]:
    return folder / "plan.json", folder / "roster.json", folder / "coordinator.pub"


def test_ten_lots_that_follow_potency_at_two_sites_are_found(folder: Path) -> None:
    results = analyse_study(*paths(folder), folder / "envelopes").results
    assert results.verdicts[0].code is VerdictCode.FOUND
    assert set(results.verdicts[0].clusters) <= {"c0", "c1"}
    assert {row.cluster: row.rho for row in results.associations if row.cluster != "c2"} == {
        "c0": pytest.approx(1, abs=1e-12),
        "c1": pytest.approx(-1, abs=1e-12),
    }
    assert results.lots.n == 10
    assert results.parity is None


@settings(max_examples=20)
@given(st.permutations(ENVELOPES), st.sets(st.integers(0, 9), max_size=3))
def test_neither_order_nor_copies_of_envelopes_change_a_report(
    order: list[tuple[str, bytes]], copied: set[int]
) -> None:
    copies = [(f"copy of {name}", envelope) for name, envelope in (ENVELOPES[place] for place in sorted(copied))]
    plan, roster = believed(PLAN), make_roster(PLAN)
    expected = {report.lot: report for report in verified_reports(plan, roster, ENVELOPES)}
    found = verified_reports(plan, roster, [*order, *copies])
    assert {report.lot: report for report in found} == expected


def test_copied_envelopes_and_other_names_give_the_same_results(folder: Path) -> None:
    first = results_json(analyse_study(*paths(folder), folder / "envelopes").results)
    for number, (name, envelope) in enumerate(ENVELOPES):
        (folder / "envelopes" / name).rename(folder / "envelopes" / f"{9 - number}.json")
        (folder / "envelopes" / f"copy-{number}.json").write_bytes(envelope)
    assert results_json(analyse_study(*paths(folder), folder / "envelopes").results) == first


@pytest.mark.parametrize("place", [0, 40, 200, 700, 1200, -100, -2])
def test_one_changed_byte_anywhere_is_refused_by_the_name_of_its_file(folder: Path, place: int) -> None:
    path = folder / "envelopes" / ENVELOPES[3][0]
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(ProblemsError) as caught:
        analyse_study(*paths(folder), folder / "envelopes")
    assert len(caught.value.problems) == 1
    assert str(caught.value.problems[0]).startswith(f"{path.name}: ")


def test_all_envelopes_that_do_not_hold_are_named_at_once() -> None:
    kyoto = make_report(rules_of(PLAN), "L9", (60, 30, 10))
    other_plan = make_report(rules_of(make_plan(seed=12)), "L8", (60, 30, 10))
    bad = [
        ("stranger.json", signed(kyoto, PayloadType.LOT_REPORT, STRANGER)),
        ("posing.json", signed(kyoto, PayloadType.LOT_REPORT, key_of(LEIDEN))),
        ("other-plan.json", signed(other_plan, PayloadType.LOT_REPORT, key_of(KYOTO))),
        ("coordinator.json", signed(kyoto, PayloadType.LOT_REPORT, COORDINATOR)),
        ("empty.json", b""),
    ]
    with pytest.raises(ProblemsError) as caught:
        verified_reports(believed(PLAN), make_roster(PLAN), [*ENVELOPES, *bad])
    assert [str(problem).partition(":")[0] for problem in caught.value.problems] == [name for name, _ in bad]


def test_plan_and_roster_are_believed_by_the_given_key_only(folder: Path) -> None:
    (folder / "coordinator.pub").write_text(STRANGER.verifying_key.to_hex())
    with pytest.raises(ProtocolError):
        open_study(*paths(folder))


def test_a_roster_that_another_key_signed_is_refused(folder: Path) -> None:
    (folder / "roster.json").write_bytes(signed(make_roster(PLAN), PayloadType.ROSTER, STRANGER))
    with pytest.raises(ProtocolError):
        open_study(*paths(folder))


def test_a_roster_of_another_study_is_refused(folder: Path) -> None:
    roster = make_roster(PLAN).model_copy(update={"study": "another-study"})
    (folder / "roster.json").write_bytes(signed(roster, PayloadType.ROSTER))
    with pytest.raises(InputError, match=f"expected the roster of {STUDY}, found that of another-study"):
        open_study(*paths(folder))


def test_a_folder_without_envelopes_or_without_being_one_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a folder of lot report envelopes"):
        read_envelopes(tmp_path / "absent")
    for path in (folder / "envelopes").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="expected at least one lot report envelope"):
        analyse_study(*paths(folder), folder / "envelopes")


def test_an_envelope_that_is_too_large_to_be_one_is_not_read_into_memory(folder: Path) -> None:
    with (folder / "envelopes" / "huge.json").open("wb") as file:
        file.truncate(10**10)
    with pytest.raises(InputError, match=r"huge\.json: expected a lot report envelope of at most"):
        read_envelopes(folder / "envelopes")


def test_the_same_outcome_is_written_as_the_same_bytes(folder: Path) -> None:
    written = []
    for out in (folder / "one", folder / "two"):
        write_outcome(analyse_study(*paths(folder), folder / "envelopes"), out)
        written.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert written[0] == written[1]
    assert set(written[0]) == {"results.json", "report.html"}
