from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import create_model

from protocol.codec import encode, sha256
from protocol.envelopes import PayloadType, open_envelope
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Instant, Sha256
from protocol.plan import Profile
from protocol.policy import EffectiveRules
from protocol.report import Count, LotQuality, LotReport
from protocol.signing import SigningKey, VerifyingKey
from protocol.steward import Meaning, ReleaseDecision, seal_decision
from shared.errors import InternalError
from site_agent.release.airlock import Airlock
from site_agent.release.append_log import MemoryLog
from site_agent.release.decisions import Approval
from site_agent.release.disclosure import judge
from site_agent.release.earlier_releases import EarlierRelease
from site_agent.release.gate import RULE_OF_FIELD, DisclosureError, check_every_field_is_known, release
from site_agent.release.verdicts import warnings_sha256

pytestmark = pytest.mark.disclosure

MakeRules = Callable[..., EffectiveRules]
MakeReport = Callable[..., LotReport]
Change = Callable[..., Any]
NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
STEWARD = SigningKey.from_seed(b"steward".ljust(32, b"."))
STRANGER = SigningKey.from_seed(b"stranger".ljust(32, b"."))


def _approval(report: LotReport, **changes: Any) -> Approval:  # noqa: ANN401 - any field of the approval
    """Return an approval of the report, signed by the steward where a person gives it."""
    fields: dict[str, Any] = {
        "payload_sha256": sha256(encode(report)),
        "by": "A. Steward",
        "at": Instant("2026-11-20T08:00:00Z"),
        "meaning": Meaning.APPROVED_FOR_RELEASE,
        "reason": None,
        "warnings_sha256": None,
        **changes,
    }
    if fields["meaning"] is Meaning.APPROVED_FOR_RELEASE and "decision" not in changes:
        fields["decision"] = _signed(report, fields)
    return Approval(**fields)


def _signed(report: LotReport, fields: dict[str, Any], key: SigningKey = STEWARD) -> bytes:
    # Constructed without being checked: some of these reports are not valid, and the gate must find out by itself.
    named = {name: fields[name] for name in ("payload_sha256", "by", "at", "meaning", "reason", "warnings_sha256")}
    return seal_decision(
        ReleaseDecision.model_construct(study=report.study, site=report.site, lot=report.lot, **named), key
    )


def _code(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(ProtocolError) as caught:
        call()
    return caught.value.code


def test_an_approved_report_leaves_as_its_exact_bytes(
    rules: EffectiveRules, make_report: MakeReport, key: SigningKey
) -> None:
    report = make_report(rules, 1200, 500, 290, 7, 3)
    envelope = release(report, rules, _approval(report), key, lots_offered=2, steward=STEWARD.verifying_key)
    assert open_envelope(envelope, PayloadType.LOT_REPORT, [key.verifying_key]).payload == encode(report)


def test_the_airlocks_approval_opens_the_gate(rules: EffectiveRules, make_report: MakeReport, key: SigningKey) -> None:
    report = make_report(rules, 1200, 500, 290, 7, 3)
    airlock = Airlock(MemoryLog())
    held = airlock.submit(report, at=NOW)
    approval = airlock.approve(held.payload_sha256, by="A. Steward", at=NOW, key=STEWARD)
    assert release(held.report, rules, approval, key, lots_offered=2, steward=STEWARD.verifying_key)


def test_without_an_approval_nothing_leaves(rules: EffectiveRules, make_report: MakeReport, key: SigningKey) -> None:
    report = make_report(rules, 1200, 500, 290, 7, 3)
    assert (
        _code(lambda: release(report, rules, None, key, lots_offered=2, steward=STEWARD.verifying_key))
        is ErrorCode.NOT_APPROVED
    )


def test_an_approval_of_other_bytes_does_not_count(
    rules: EffectiveRules, make_report: MakeReport, key: SigningKey
) -> None:
    report, other = make_report(rules, 1200, 500, 290, 7, 3), make_report(rules, 1201, 500, 290, 7, 3)
    assert (
        _code(lambda: release(report, rules, _approval(other), key, lots_offered=2, steward=STEWARD.verifying_key))
        is ErrorCode.NOT_APPROVED
    )


def test_an_approval_that_the_stewards_key_did_not_sign_does_not_count(
    rules: EffectiveRules, make_report: MakeReport, key: SigningKey
) -> None:
    report, other = make_report(rules, 1200, 500, 290, 7, 3), make_report(rules, 1201, 500, 290, 7, 3)
    sound = _approval(report)
    fields: dict[str, Any] = {
        "payload_sha256": sound.payload_sha256,
        "by": sound.by,
        "at": sound.at,
        "meaning": sound.meaning,
        "warnings_sha256": None,
    }

    def code(approval: Approval, steward: VerifyingKey | None = STEWARD.verifying_key) -> ErrorCode:
        return _code(lambda: release(report, rules, approval, key, lots_offered=2, steward=steward))

    assert code(replace(sound, decision=None)) is ErrorCode.NOT_APPROVED
    assert code(replace(sound, decision=b"{}")) is ErrorCode.NOT_APPROVED
    assert (
        code(replace(sound, decision=_signed(report, {**fields, "reason": None}, STRANGER))) is ErrorCode.NOT_APPROVED
    )
    assert code(replace(sound, decision=_approval(other).decision)) is ErrorCode.NOT_APPROVED
    assert code(replace(sound, by="Someone else")) is ErrorCode.NOT_APPROVED
    assert code(replace(sound, reason="added afterwards")) is ErrorCode.NOT_APPROVED
    refused = {**fields, "meaning": Meaning.REFUSED_FOR_RELEASE, "reason": None}
    assert code(replace(sound, decision=_signed(report, refused))) is ErrorCode.NOT_APPROVED
    assert code(sound, None) is ErrorCode.NOT_APPROVED
    assert release(report, rules, sound, key, lots_offered=2, steward=STEWARD.verifying_key)


def test_no_approval_opens_the_gate_against_a_rule(
    rules: EffectiveRules, make_report: MakeReport, key: SigningKey, changed: Change
) -> None:
    report = changed(make_report(rules, 1200, 500, 290, 7, 3), cells_after_qc=Count.exactly(2000))
    approval = _approval(report, reason="I know what I do")
    with pytest.raises(DisclosureError) as caught:
        release(report, rules, approval, key, lots_offered=2, steward=STEWARD.verifying_key)
    assert caught.value.code is ErrorCode.DISCLOSURE_REFUSED
    assert caught.value.verdicts[0].fields == ("counts.4",)
    assert (
        _code(lambda: release(report, rules, approval, key, lots_offered=1, steward=STEWARD.verifying_key))
        is ErrorCode.DISCLOSURE_REFUSED
    )


def test_the_policys_approval_counts_only_where_the_policy_gives_it(
    make_rules: MakeRules, make_report: MakeReport, key: SigningKey
) -> None:
    by_hand, unseen = make_rules(), make_rules(auto_approve=("vegf-2026",))

    def attempt(rules: EffectiveRules) -> bytes:
        report = make_report(rules, 1200, 500, 290, 7, 3)
        approval = _approval(report, by="policy", meaning=Meaning.RELEASED_BY_POLICY, reason="auto_approve")
        return release(report, rules, approval, key, lots_offered=2, steward=STEWARD.verifying_key)

    assert attempt(unseen)
    assert _code(lambda: attempt(by_hand)) is ErrorCode.NOT_APPROVED


def test_against_a_warning_a_person_must_say_why(
    make_rules: MakeRules, make_report: MakeReport, key: SigningKey
) -> None:
    rules = make_rules(auto_approve=("vegf-2026",))
    report = make_report(rules, 1200, 500, 290, 7, 3)
    shown = EarlierRelease(report=make_report(make_rules(Profile.OPEN), 1200, 500, 290, 7, 3), same_cells=True)

    def attempt(approval: Approval) -> bytes:
        return release(report, rules, approval, key, lots_offered=2, steward=STEWARD.verifying_key, earlier=(shown,))

    assert _code(lambda: attempt(_approval(report))) is ErrorCode.NOT_APPROVED
    unseen = _approval(report, meaning=Meaning.RELEASED_BY_POLICY, reason="auto_approve")
    assert _code(lambda: attempt(unseen)) is ErrorCode.NOT_APPROVED
    warned = warnings_sha256(judge(report, rules, lots_offered=2, earlier=(shown,)))
    assert warned is not None
    # A reason that was given before the rule warned, or against another warning, does not count.
    assert _code(lambda: attempt(_approval(report, reason="It was public."))) is ErrorCode.NOT_APPROVED
    other = _approval(report, reason="It was public.", warnings_sha256=Sha256("f" * 64))
    assert _code(lambda: attempt(other)) is ErrorCode.NOT_APPROVED
    assert _code(lambda: attempt(_approval(report, warnings_sha256=warned))) is ErrorCode.NOT_APPROVED
    assert attempt(_approval(report, reason="It was public before.", warnings_sha256=warned))


def test_the_gate_knows_every_field_of_a_report() -> None:
    check_every_field_is_known(LotReport)


def test_a_new_field_does_not_leave_until_someone_has_decided_how(
    rules: EffectiveRules, make_report: MakeReport, key: SigningKey
) -> None:
    wider = create_model("WiderReport", __base__=LotReport, gene_names=(str, "LRRC75A"))
    with pytest.raises(InternalError, match="unknown: gene_names"):
        check_every_field_is_known(wider)
    report = make_report(rules, 1200, 500, 290, 7, 3)
    smuggling = wider.model_validate({**report.model_dump(by_alias=False), "potency": report.potency})
    with pytest.raises(InternalError, match="gene_names"):
        release(smuggling, rules, _approval(smuggling), key, lots_offered=2, steward=STEWARD.verifying_key)


def test_a_new_field_deep_within_a_report_is_found_too() -> None:
    quality = create_model("WiderQuality", __base__=LotQuality, best_gene=(str, ""))
    wider = create_model("WiderReport", __base__=LotReport, quality=(tuple[quality, ...] | None, None))  # type: ignore[arg-type,valid-type]  # made at run time
    with pytest.raises(InternalError, match=r"unknown: quality\.best_gene"):
        check_every_field_is_known(wider)


def test_a_field_that_is_gone_is_noticed() -> None:
    narrower = create_model("Narrower", study=(str, ""))
    with pytest.raises(InternalError, match=r"gone: .*counts"):
        check_every_field_is_known(narrower)
    assert "study" in RULE_OF_FIELD


def test_a_report_that_was_never_validated_does_not_leave(
    rules: EffectiveRules, make_report: MakeReport, key: SigningKey
) -> None:
    report = make_report(rules, 1200, 500, 290, 7, 3)
    for update in (
        {"tissue": "bone marrow\nBM-01"},
        {"period": "2026-03-14"},
        {"lot": "BM-01"},
        {"padding": "AAACCTGAGAAACCAT-1"},
        {"counts": ()},
    ):
        unchecked = report.model_copy(update=update)
        with pytest.raises((ProtocolError, InternalError)):
            release(unchecked, rules, _approval(unchecked), key, lots_offered=2, steward=STEWARD.verifying_key)


def test_what_is_told_to_the_other_party_holds_no_value_or_path(
    rules: EffectiveRules, make_report: MakeReport, key: SigningKey, changed: Change
) -> None:
    report = changed(make_report(rules, 613, 3, 0, 0, 0), counts=(*map(Count.exactly, (613, 3, 0, 0, 0)),))
    with pytest.raises(DisclosureError) as caught:
        release(report, rules, _approval(report), key, lots_offered=1, steward=STEWARD.verifying_key)
    assert caught.value.code.sentence == "The site's disclosure rules refuse this release."
    assert Sha256(report.lot) not in str(caught.value)
