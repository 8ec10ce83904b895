"""The review: what is shown, and that each act does what it says and no more."""

from collections.abc import Callable, Mapping, Sequence

import pytest
from click.testing import Result

from protocol.codec import sha256
from protocol.errors import ErrorCode
from protocol.identifiers import StudyId
from protocol.ledger import LedgerEvent
from protocol.policy import EffectiveRules, write_policy
from protocol.queries import AnswerStatus
from shared.errors import InputError, RefusedError
from shared.runtime.files import write_atomically
from site_agent.release.decisions import Provenance, State
from site_agent.release.offers import Offer
from site_agent.review import acts
from site_agent.review.model import find_item
from site_agent.review.shown import headline
from tests.site_agent.review.conftest import WHO, AHome, item_named, items_of, said
from tests.study_parts import NOW, STRANGER, STUDY, THREE_LOTS, Lots, make_ask, make_plan, make_policy, make_report

OTHER = make_plan(study=StudyId("another-study"))


class Known:
    """A source that knows which cells each lot's report was made of: a number for the cells, and their counts."""

    def __init__(self, lots: Mapping[str, tuple[int, Sequence[int]]]) -> None:
        self._lots = lots

    def __call__(self, rules: EffectiveRules) -> Sequence[Offer]:
        return [
            Offer(
                report=make_report(rules, lot, counts),
                provenance=Provenance(lot_sha256=sha256(lot.encode()), cells_sha256=sha256(f"{lot} {cells}".encode())),
            )
            for lot, (cells, counts) in self._lots.items()
        ]


def test_the_steward_sees_the_exact_bytes_and_the_lots_own_name_beside_them(waiting: AHome) -> None:
    items = items_of(waiting)
    assert sorted(item.lot_name for item in items) == sorted(THREE_LOTS)
    for item in items:
        assert sha256(item.held.payload) == item.held.payload_sha256
        assert item.lot_name.encode() not in item.held.payload
        shown = {line.field: line.value for line in item.lines}
        assert [shown[f"cells in {name}"] for name in ("c0", "c1", "c2")] == [
            f"{cells:,}" for cells in THREE_LOTS[item.lot_name]
        ]
        assert item.why_not_approvable == ""
    assert headline(items) == "Nothing has left. 3 wait for your decision; 0 approved and not yet sent."


def test_what_the_steward_approved_leaves_and_stands_in_the_ledger(waiting: AHome) -> None:
    for item in items_of(waiting):
        acts.approve(waiting.home, item, by=WHO, at=NOW, key=waiting.steward)
    assert {item.held.state for item in items_of(waiting)} == {State.APPROVED}
    answer, reply = said(waiting)
    assert (answer.status, len(reply.reports)) == (AnswerStatus.REPORTS, 3)
    assert {item.held.state for item in items_of(waiting)} == {State.SENT}
    entries = [entry.record for entry in waiting.home.ledger().verify()]
    released = [entry for entry in entries if entry.event is LedgerEvent.RELEASED]
    assert {entry.envelope_sha256 for entry in released} == {sha256(envelope) for envelope in reply.reports}
    approved = [entry for entry in entries if entry.event is LedgerEvent.APPROVED]
    assert {entry.automatic for entry in approved} == {False}
    assert answer.ledger is not None
    assert answer.ledger.length == len(entries) - 1  # all but the answer itself


@pytest.mark.disclosure
def test_only_the_stewards_key_approves(waiting: AHome) -> None:
    item = items_of(waiting)[0]
    for key in (STRANGER, waiting.home.site_key()):
        with pytest.raises(RefusedError, match="steward"):
            acts.approve(waiting.home, item, by=WHO, at=NOW, key=key)
    # An approval that another key signed, written into the airlock past the review, does not open the gate.
    for held in waiting.held():
        waiting.home.airlock().approve(held.payload_sha256, by=WHO, at=NOW, key=STRANGER)
    answer, reply = said(waiting)
    assert (answer.status, answer.code, reply.reports) == (AnswerStatus.REFUSED, ErrorCode.NOT_APPROVED, ())


def test_a_refusal_needs_a_reason_and_is_final(waiting: AHome) -> None:
    item = item_named(waiting, "BM-02")
    with pytest.raises(InputError, match="reason"):
        acts.refuse(waiting.home, item, by=WHO, at=NOW, key=waiting.steward, reason=" ")
    acts.refuse(waiting.home, item, by=WHO, at=NOW, key=waiting.steward, reason="not ours to give")
    with pytest.raises(RefusedError, match="refused"):
        acts.approve(waiting.home, item, by=WHO, at=NOW, key=waiting.steward)
    for name in ("BM-01", "BM-03"):
        acts.approve(waiting.home, item_named(waiting, name), by=WHO, at=NOW, key=waiting.steward)
    _, reply = said(waiting)
    assert len(reply.reports) == 2


def test_withholding_voids_what_waited_and_holds_for_what_is_computed_again(waiting: AHome) -> None:
    item = item_named(waiting, "BM-01")
    new = acts.withhold(waiting.home, item, ["c2"], by=WHO, at=NOW, key=waiting.steward)
    assert waiting.home.airlock().find(item.held.payload_sha256).state is State.VOIDED
    assert (new.report.counts[2].low, new.report.counts[2].high) == (100, 999)
    assert (new.report.cells_after_qc.low, new.report.cells_after_qc.high) == (1_000, 1_899)
    with pytest.raises(RefusedError, match="voided"):
        acts.approve(waiting.home, item, by=WHO, at=NOW, key=waiting.steward)
    again, _ = said(waiting)
    assert again.code is ErrorCode.AWAITING_STEWARD
    assert item_named(waiting, "BM-01").held == new
    for each in items_of(waiting):
        if each.waits:
            assert each.why_not_approvable == ""
            acts.approve(waiting.home, each, by=WHO, at=NOW, key=waiting.steward)
    _, reply = said(waiting)
    assert len(reply.reports) == 3
    assert waiting.home.airlock().find(new.payload_sha256).state is State.SENT


def test_withholding_what_is_withheld_and_unknown_clusters_are_refused(waiting: AHome) -> None:
    item = item_named(waiting, "BM-01")
    for clusters in ([], ["no such cluster"]):
        with pytest.raises(InputError, match="clusters of the atlas"):
            acts.withhold(waiting.home, item, clusters, by=WHO, at=NOW, key=waiting.steward)
    new = acts.withhold(waiting.home, item, ["c2"], by=WHO, at=NOW, key=waiting.steward)
    with pytest.raises(RefusedError, match="nothing would change"):
        acts.withhold(
            waiting.home, find_item(items_of(waiting), new.payload_sha256), ["c2"], by=WHO, at=NOW, key=waiting.steward
        )


def test_a_changed_lot_voids_the_approval_of_the_old_bytes(waiting: AHome) -> None:
    item = item_named(waiting, "BM-01")
    acts.approve(waiting.home, item, by=WHO, at=NOW, key=waiting.steward)
    waiting.source = Lots({**THREE_LOTS, "BM-01": (601, 300, 100)})
    assert said(waiting)[0].code is ErrorCode.AWAITING_STEWARD
    assert waiting.home.airlock().find(item.held.payload_sha256).state is State.VOIDED
    assert item_named(waiting, "BM-01").waits


def test_against_a_warning_the_steward_must_say_why(waiting: AHome) -> None:
    for item in items_of(waiting):
        acts.approve(waiting.home, item, by=WHO, at=NOW, key=waiting.steward)
    said(waiting)
    waiting.source = Lots({**THREE_LOTS, "BM-01": (660, 360, 160)})
    said(waiting)
    item = item_named(waiting, "BM-01")
    assert item.needs_reason
    assert item.previous is not None
    changed = {line.field: (line.before, line.value) for line in item.lines if line.changed}
    assert changed["cells in c0"] == ("600", "660")
    with pytest.raises(InputError, match="reason"):
        acts.approve(waiting.home, item, by=WHO, at=NOW, key=waiting.steward)
    acts.approve(waiting.home, item, by=WHO, at=NOW, key=waiting.steward, reason="two vials were added")
    assert len(said(waiting)[1].reports) == 3


def test_an_approval_does_not_hold_against_a_warning_that_came_after_it(a_home: AHome) -> None:
    """Approved with a reason while no rule warned; then the lot leaves in another study, made of other cells."""
    policy = make_policy(auto=False).model_copy(update={"allowed_studies": (STUDY, OTHER.study)})
    write_atomically(a_home.home.folder / "policy.toml", write_policy(policy))
    a_home.source = Known({lot: (1, counts) for lot, counts in THREE_LOTS.items()})
    said(a_home)
    first = [item for item in items_of(a_home) if item.waits]
    for item in first:
        acts.approve(a_home.home, item, by=WHO, at=NOW, key=a_home.steward, reason="all is well")
    doubled = Known({lot: (2, (2 * a, 2 * b, 2 * c)) for lot, (a, b, c) in THREE_LOTS.items()})
    a_home.source = doubled
    said(a_home, make_ask(OTHER))
    for item in items_of(a_home):
        if item.waits:
            acts.approve(a_home.home, item, by=WHO, at=NOW, key=a_home.steward, reason="all is well")
    assert len(said(a_home, make_ask(OTHER))[1].reports) == 3
    a_home.source = Known({lot: (1, counts) for lot, counts in THREE_LOTS.items()})
    assert said(a_home)[0].code is ErrorCode.AWAITING_STEWARD
    again = [item for item in items_of(a_home) if item.waits]
    assert {item.held.payload_sha256 for item in again} == {item.held.payload_sha256 for item in first}
    assert all(item.needs_reason for item in again)
    for item in again:
        acts.approve(a_home.home, item, by=WHO, at=NOW, key=a_home.steward, reason="seen both")
    assert len(said(a_home)[1].reports) == 3
    # What was sent is sent again, whatever has left since.
    a_home.source = doubled
    assert len(said(a_home, make_ask(OTHER))[1].reports) == 3


@pytest.mark.disclosure
def test_without_a_readable_policy_nothing_can_be_approved(waiting: AHome) -> None:
    item = items_of(waiting)[0]
    for damage in (b"version = ", None):
        path = waiting.home.folder / "policy.toml"
        path.unlink()
        if damage is not None:
            path.write_bytes(damage)
        assert "policy" in items_of(waiting)[0].why_not_approvable
        with pytest.raises(RefusedError):
            acts.approve(waiting.home, item, by=WHO, at=NOW, key=waiting.steward)


@pytest.mark.disclosure
def test_a_policy_made_stricter_after_submission_stops_the_approval(waiting: AHome) -> None:
    stricter = make_policy(auto=False).model_copy(update={"version": 2})
    write_atomically(waiting.home.folder / "policy.toml", write_policy(stricter))
    item = items_of(waiting)[0]
    assert "rule fails" in item.why_not_approvable
    with pytest.raises(RefusedError, match="other rules"):
        acts.approve(waiting.home, item, by=WHO, at=NOW, key=waiting.steward)


def test_a_refused_lot_waits_again_only_once_a_steward_lets_it(waiting: AHome, run: Callable[..., Result]) -> None:
    for name in THREE_LOTS:
        act = acts.refuse if name == "BM-02" else acts.approve
        act(waiting.home, item_named(waiting, name), by=WHO, at=NOW, key=waiting.steward, reason="as agreed")
    assert len(said(waiting)[1].reports) == 2
    with pytest.raises(RefusedError, match="was refused"):
        acts.offer_again(
            waiting.home, item_named(waiting, "BM-01"), by=WHO, at=NOW, key=waiting.steward, reason="why not"
        )
    assert run("review", "offer-again", "BM-02", "--reason", " ", signs=True).exit_code == 1
    assert len(said(waiting)[1].reports) == 2
    assert run("review", "offer-again", "BM-02", "--reason", "the audit is over", signs=True).exit_code == 0
    assert said(waiting)[0].code is ErrorCode.AWAITING_STEWARD
    again = item_named(waiting, "BM-02")
    assert (again.held.report.version, again.held.state) == (2, State.PENDING)
    acts.approve(waiting.home, again, by=WHO, at=NOW, key=waiting.steward)
    assert len(said(waiting)[1].reports) == 3
    assert len(said(waiting)[1].reports) == 3
    # What changes later takes the versions after it.
    waiting.source = Lots({**THREE_LOTS, "BM-02": (560, 460, 160)})
    said(waiting)
    assert item_named(waiting, "BM-02").held.report.version == 4
