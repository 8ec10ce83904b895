from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from protocol.atlas_manifest import AtlasManifest, check_atlas_bytes
from protocol.codec import encode, sha256
from protocol.envelopes import PayloadType, seal
from protocol.errors import ErrorCode, ProtocolError, SignatureError
from protocol.identifiers import SiteId, StudyId
from protocol.plan import StudyPlan
from protocol.queries import AnswerStatus, Query, answer_with_code
from protocol.report import LotReport
from protocol.roster import (
    COORDINATOR_SIGNS,
    SITE_SIGNS,
    Roster,
    SiteKey,
    open_answer,
    open_from_coordinator,
    open_plan,
    open_query,
    open_report,
)
from protocol.signing import SigningKey
from protocol.steward import STEWARD_SIGNS

Change = Callable[..., Any]


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


def _code(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(ProtocolError) as caught:
        call()
    return caught.value.code


def test_every_kind_of_payload_has_one_kind_of_signer() -> None:
    assert set(PayloadType) == COORDINATOR_SIGNS | SITE_SIGNS | STEWARD_SIGNS
    assert len(PayloadType) == len(COORDINATOR_SIGNS) + len(SITE_SIGNS) + len(STEWARD_SIGNS)


def test_what_the_rightful_party_signed_is_believed(
    roster: Roster, coordinator_key: SigningKey, site_key: SigningKey, query: Query, plan: StudyPlan, report: LotReport
) -> None:
    coordinator = roster.coordinator_key()
    believed = open_query(seal(encode(query), PayloadType.QUERY, coordinator_key), coordinator)
    assert believed.message == query
    assert believed.payload_sha256 == sha256(encode(query))
    assert open_plan(seal(encode(plan), PayloadType.STUDY_PLAN, coordinator_key), coordinator).message == plan
    answer = answer_with_code(query, encode(query), AnswerStatus.FAILED, ErrorCode.TIMED_OUT)
    assert open_answer(seal(encode(answer), PayloadType.ANSWER, site_key), roster, "kyoto").message == answer
    assert open_report(seal(encode(report), PayloadType.LOT_REPORT, site_key), roster, "kyoto").message == report


def test_a_site_cannot_speak_for_another(
    roster: Roster, stranger_key: SigningKey, query: Query, report: LotReport
) -> None:
    # The stranger's key is leiden's: it signs well, and names kyoto.
    answer = answer_with_code(query, encode(query), AnswerStatus.FAILED, ErrorCode.TIMED_OUT)
    sealed_answer = seal(encode(answer), PayloadType.ANSWER, stranger_key)
    sealed_report = seal(encode(report), PayloadType.LOT_REPORT, stranger_key)
    assert _code(lambda: open_answer(sealed_answer, roster, "leiden")) is ErrorCode.WRONG_SIGNER
    assert _code(lambda: open_report(sealed_report, roster, "leiden")) is ErrorCode.WRONG_SIGNER
    assert _code(lambda: open_report(sealed_report, roster, "kyoto")) is ErrorCode.UNKNOWN_SIGNER


def test_a_site_cannot_sign_for_the_coordinator(roster: Roster, site_key: SigningKey, query: Query) -> None:
    sealed = seal(encode(query), PayloadType.QUERY, site_key)
    assert _code(lambda: open_query(sealed, roster.coordinator_key())) is ErrorCode.UNKNOWN_SIGNER


def test_the_coordinator_cannot_sign_a_report(roster: Roster, coordinator_key: SigningKey, report: LotReport) -> None:
    sealed = seal(encode(report), PayloadType.LOT_REPORT, coordinator_key)
    assert _code(lambda: open_report(sealed, roster, "kyoto")) is ErrorCode.UNKNOWN_SIGNER
    with pytest.raises(SignatureError):
        open_from_coordinator(sealed, LotReport, PayloadType.LOT_REPORT, coordinator_key.verifying_key)


def test_a_signed_message_of_another_shape_is_refused(coordinator_key: SigningKey, plan: StudyPlan) -> None:
    sealed = seal(encode(plan), PayloadType.QUERY, coordinator_key)
    assert _code(lambda: open_query(sealed, coordinator_key.verifying_key)) is ErrorCode.WRONG_SCHEMA


def test_a_site_that_is_not_on_the_roster_is_unknown(roster: Roster) -> None:
    assert _code(lambda: roster.site_key("osaka")) is ErrorCode.UNKNOWN_SIGNER


def test_no_two_parties_share_a_key_or_a_name(roster: Roster, changed: Change) -> None:
    kyoto, leiden = roster.sites
    for change in (
        {"coordinator": kyoto.key},
        {"sites": (kyoto, SiteKey(site=SiteId("leiden"), key=kyoto.key))},
        {"sites": (kyoto, SiteKey(site=SiteId("kyoto"), key=leiden.key))},
        {"sites": (leiden, kyoto)},
    ):
        with pytest.raises(ValidationError, match="expected"):
            changed(roster, **change)


def test_another_atlas_file_is_refused(plan: StudyPlan) -> None:
    data = b"an atlas"
    manifest = AtlasManifest(
        name="bm-msc",
        sha256=sha256(data),
        size_bytes=len(data),
        modality="rna",
        clusters=plan.atlas.clusters,
        n_genes=2_000,
        crosslot="0.1.0",
    )
    check_atlas_bytes(manifest, data)
    assert manifest.reference().clusters == plan.atlas.clusters
    for other in (b"an atlaS", b"an atlas ", b""):
        assert _code(lambda other=other: check_atlas_bytes(manifest, other)) is ErrorCode.ATLAS_MISMATCH  # type: ignore[misc]
