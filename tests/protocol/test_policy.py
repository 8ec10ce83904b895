from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import decode, encode
from protocol.errors import DecodeError, ErrorCode, ProtocolError
from protocol.identifiers import StudyId
from protocol.plan import PROFILE_THRESHOLDS, DisclosureRequest, Profile, QualityLimits, StudyPlan
from protocol.policy import (
    OptionalField,
    Owner,
    PolicyThresholds,
    SitePolicy,
    check_coordinator,
    effective,
    policy_or_refuse,
    read_policy,
    write_policy,
)
from protocol.signing import SigningKey
from protocol.study_draft import read_study_draft, write_study_draft
from shared.errors import ProblemsError

Change = Callable[..., Any]

POLICIES = st.builds(
    SitePolicy,
    version=st.integers(1, 99),
    site=st.just("kyoto"),
    profile=st.sampled_from(Profile),
    allowed_studies=st.just(("vegf-2026", "other")),
    allowed_coordinators=st.just(("c" * 64,)),
    auto_approve=st.sampled_from([(), ("vegf-2026",)]),
    withheld_fields=st.sets(st.sampled_from(OptionalField)).map(lambda fields: tuple(sorted(fields))),
    thresholds=st.builds(
        PolicyThresholds,
        minimum_cells_per_lot=st.none() | st.integers(1, 5_000),
        small_count_threshold=st.none() | st.integers(0, 30),
        minimum_lots_per_site=st.none() | st.integers(1, 9),
    ),
)
REQUESTS = st.builds(
    DisclosureRequest,
    profile=st.sampled_from(Profile),
    minimum_lots_per_site=st.integers(1, 9),
    small_count_threshold=st.integers(0, 30),
)


@given(POLICIES)
def test_a_policy_that_is_written_reads_back_the_same(policy: SitePolicy) -> None:
    written = write_policy(policy)
    back = read_policy(written)
    assert back == policy
    assert back.sha256 == policy.sha256
    assert write_policy(back) == written


@given(policy=POLICIES, request_=REQUESTS, cells=st.integers(1, 5_000))
def test_no_rule_in_force_is_looser_than_the_sites_or_the_studys(
    plan: StudyPlan, policy: SitePolicy, request_: DisclosureRequest, cells: int
) -> None:
    asked = plan.model_copy(update={"disclosure": request_, "quality": QualityLimits(minimum_cells_per_lot=cells)})
    rules = effective(policy, asked)
    own, defaults = policy.thresholds, PROFILE_THRESHOLDS[policy.profile]
    for threshold, site, default, study in (
        (rules.minimum_cells, own.minimum_cells_per_lot, defaults.minimum_cells_per_lot, cells),
        (rules.small_count, own.small_count_threshold, defaults.small_count_threshold, request_.small_count_threshold),
        (rules.minimum_lots, own.minimum_lots_per_site, defaults.minimum_lots_per_site, request_.minimum_lots_per_site),
    ):
        sites = default if site is None else site
        assert threshold.value == max(sites, study)
        assert threshold.owner is (Owner.SITE if sites >= study else Owner.STUDY)
    strict = Profile.STRICT in {policy.profile, request_.profile}
    assert rules.zeros_hidden == strict
    assert (rules.applied is Profile.STRICT) == strict
    assert (rules.applied is Profile.OPEN) == (policy.profile is request_.profile is Profile.OPEN)
    assert rules.requested is request_.profile


def test_a_study_that_asks_for_less_gets_less_only_where_the_site_says_so(
    plan: StudyPlan, policy: SitePolicy, changed: Change
) -> None:
    open_plan = changed(
        plan,
        disclosure=DisclosureRequest(profile=Profile.OPEN),
        quality=QualityLimits(minimum_cells_per_lot=50),
    )
    careful = effective(policy, open_plan)
    assert (careful.applied, careful.small_count.value, careful.minimum_cells.value) == (Profile.STANDARD, 5, 500)
    lowered = effective(changed(policy, profile=Profile.OPEN), open_plan)
    assert (lowered.applied, lowered.small_count.value, lowered.minimum_cells.value) == (Profile.OPEN, 0, 50)
    assert lowered.minimum_lots.value == 1


def test_a_threshold_that_a_study_leaves_open_is_its_profiles() -> None:
    assert DisclosureRequest(profile=Profile.STRICT).small_count_threshold == 10
    assert DisclosureRequest(profile=Profile.OPEN).small_count_threshold == 0
    assert DisclosureRequest(profile=Profile.OPEN, small_count_threshold=7).small_count_threshold == 7
    assert DisclosureRequest().small_count_threshold == 5


def test_a_profile_that_is_no_text_is_refused_and_not_stumbled_over() -> None:
    # A list is not hashable: looking it up among the profiles raised a TypeError from within the decoder.
    with pytest.raises(DecodeError) as caught:
        decode(DisclosureRequest, b'{"minimum_lots_per_site":2,"profile":[],"small_count_threshold":5}', limit=100)
    assert caught.value.code is ErrorCode.INVALID_FIELD


def test_no_policy_or_a_damaged_one_lets_nothing_out() -> None:
    for data, code in (
        (None, ErrorCode.POLICY_MISSING),
        (b"", ErrorCode.POLICY_DAMAGED),
        (b"\xff\xfe", ErrorCode.POLICY_DAMAGED),
        (b"version = [", ErrorCode.POLICY_DAMAGED),
        (b"x" * 300_000, ErrorCode.POLICY_DAMAGED),
        (b"a = " + b"[" * 100_000, ErrorCode.POLICY_DAMAGED),
        (b"version = 2026-01-01", ErrorCode.POLICY_DAMAGED),
    ):
        with pytest.raises(ProtocolError) as caught:
            policy_or_refuse(data)
        assert caught.value.code is code


@given(POLICIES, st.data())
def test_a_policy_cut_short_allows_no_other_study_or_looser_profile(policy: SitePolicy, data: st.DataObject) -> None:
    written = write_policy(policy)
    cut = written[: data.draw(st.integers(0, len(written) - 1))]
    try:
        back = policy_or_refuse(cut)
    except ProtocolError:
        return
    assert back.profile is policy.profile
    assert back.allowed_studies == policy.allowed_studies


def test_every_problem_of_a_policy_is_named_at_once() -> None:
    with pytest.raises(ProblemsError) as caught:
        read_policy(b'version = "3"\nsite = "Kyoto!"\nprofil = "open"\nallowed_studies = ["a", "B C"]\n')
    shown = str(caught.value)
    for place in ("version", "site", "profil", "allowed_studies.2", "allowed_coordinators"):
        assert f"- {place}:" in shown


def test_only_an_allowed_study_may_be_approved_unseen(policy: SitePolicy) -> None:
    text = write_policy(policy).decode().replace("auto_approve = []", 'auto_approve = ["other"]')
    with pytest.raises(ProblemsError, match="auto_approve"):
        read_policy(text.encode())


def test_a_study_coordinator_or_site_that_the_policy_does_not_name_is_refused(
    plan: StudyPlan, policy: SitePolicy, coordinator_key: SigningKey, stranger_key: SigningKey, changed: Change
) -> None:
    check_coordinator(policy, coordinator_key.fingerprint)
    for call, code in (
        (lambda: check_coordinator(policy, stranger_key.fingerprint), ErrorCode.COORDINATOR_NOT_ALLOWED),
        (lambda: effective(policy, changed(plan, study=StudyId("other"))), ErrorCode.STUDY_NOT_ALLOWED),
        (lambda: effective(policy, changed(plan, sites=("leiden",))), ErrorCode.WRONG_SITE),
    ):
        with pytest.raises(ProtocolError) as caught:
            call()
        assert caught.value.code is code


def test_a_study_of_fewer_sites_than_the_policy_asks_for_is_refused(
    policy: SitePolicy, plan: StudyPlan, changed: Change
) -> None:
    n_sites = len(plan.sites)

    def asking_for(sites: int) -> SitePolicy:
        thresholds = changed(policy.thresholds, minimum_sites_per_study=sites)
        return read_policy(write_policy(changed(policy, thresholds=thresholds)))

    assert effective(asking_for(n_sites), plan).plan == plan
    with pytest.raises(ProtocolError) as caught:
        effective(asking_for(n_sites + 1), plan)
    assert caught.value.code is ErrorCode.STUDY_TOO_SMALL


def test_the_written_policy_explains_itself(policy: SitePolicy) -> None:
    text = write_policy(policy).decode()
    assert "# open: exact counts" in text
    assert text.index("# Raise it") < text.index("version =")


def test_a_study_draft_reads_back_the_same(plan: StudyPlan) -> None:
    written = write_study_draft(plan)
    back = read_study_draft(written)
    assert back == plan
    assert encode(back) == encode(plan)
    assert write_study_draft(back) == written
    assert b"# Draft of a study plan" in written
    assert b"# quality" not in written
    assert written.index(b"# Which cells count") < written.index(b"[quality]")


def test_every_problem_of_a_study_draft_is_named_at_once(plan: StudyPlan) -> None:
    text = write_study_draft(plan).decode()
    text = text.replace("alpha = 0.05", "alpha = 0.9").replace('opens = "2026-Q3"', 'opens = "July"')
    text = text.replace("draws = 9999", "draws = nan").replace('unit = "pg/mL"', "units = 3")
    with pytest.raises(ProblemsError) as caught:
        read_study_draft(text.encode())
    for place in ("analysis.alpha", "analysis.draws", "opens", "endpoints.1.unit:", "endpoints.1.units:"):
        assert place in str(caught.value)


def test_a_plan_that_contradicts_itself_is_refused(plan: StudyPlan) -> None:
    text = write_study_draft(plan).decode().replace("clusters = []", 'clusters = ["c9"]')
    with pytest.raises(ProblemsError, match="not in the atlas: c9"):
        read_study_draft(text.encode())
