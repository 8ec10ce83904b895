"""A site's own disclosure policy, as data: what may leave, and what a study's wishes make of it.

The site owns its thresholds (SPEC 5). A policy starts from a profile; a threshold given beside it replaces the
profile's, in either direction: the site may lower its own, openly. The study asks too, and of two thresholds the
stricter holds. So a study that asks for less than the default gets less only where the site's own policy says so.
Whose threshold holds, what was asked and what was applied are all recorded.

Without a policy, or with a damaged one, nothing leaves.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from protocol.codec import encode, sha256
from protocol.errors import ErrorCode, ProtocolError
from protocol.identifiers import Digest, Sha256, SiteId, SiteSlug, Slug, StudySlug
from protocol.message import Message
from protocol.modules.names import ModuleName
from protocol.plan import PROFILE_THRESHOLDS, Profile, StudyPlan
from protocol.report import Epsilon
from protocol.toml_documents import read_toml, write_toml
from shared.errors import ProblemsError

_STRICTNESS: Final = {Profile.OPEN: 0, Profile.STANDARD: 1, Profile.STRICT: 2}
STRICT_COUNT_STEP: Final = 5
"""Under ``strict`` every count travels as an interval of this many values (SPEC 5.5)."""


class OptionalField(StrEnum):
    """The fields of a lot report that a site may withhold: they leave as null."""

    PASSAGE = "passage"
    PERIOD = "period"
    MEDIAN_MITOCHONDRIAL_SHARE = "median_mitochondrial_share"


class PolicyThresholds(Message):
    """The site's own thresholds, where they differ from its profile's."""

    minimum_cells_per_lot: Annotated[int, Field(ge=1)] | None = None
    small_count_threshold: Annotated[int, Field(ge=0, le=1_000)] | None = None
    minimum_lots_per_site: Annotated[int, Field(ge=1)] | None = None
    minimum_sites_per_study: Annotated[int, Field(ge=1)] | None = None  # not given: one site alone is a study


class NoisePolicy(Message):
    """Noise on the counts of every lot, and how much of it may be averaged away (SPEC 5.13, 5.14).

    ``epsilon_budget`` is of each lot, over all studies and for ever. Only the site asks for noise, never a study.
    """

    epsilon_per_release: Epsilon
    epsilon_budget: Annotated[float, Field(gt=0, le=1_000)]

    @model_validator(mode="after")
    def _one_release_is_within_the_budget(self) -> Self:
        if self.epsilon_per_release > self.epsilon_budget:
            raise ValueError("epsilon_budget: expected at least epsilon_per_release, or nothing could ever leave")
        return self


class SitePolicy(Message):
    """What a site lets out, to whom, and whether a person decides each time (SPEC 5)."""

    schema_id: Literal["crosslot.site-policy/1"] = Field(default="crosslot.site-policy/1", alias="schema")
    version: Annotated[int, Field(ge=1)]
    site: SiteSlug
    profile: Profile = Profile.STANDARD
    allowed_studies: Annotated[tuple[StudySlug, ...], Field(max_length=1_000)]
    allowed_coordinators: Annotated[tuple[Digest, ...], Field(max_length=100)]
    auto_approve: tuple[Slug, ...] = ()
    allowed_modules: tuple[ModuleName, ...] = ()
    withheld_fields: tuple[OptionalField, ...] = ()
    thresholds: PolicyThresholds = PolicyThresholds()
    noise: NoisePolicy | None = None

    @model_validator(mode="after")
    def _only_an_allowed_study_is_approved_unseen(self) -> Self:
        unknown = sorted(set(self.auto_approve) - set(self.allowed_studies))
        if unknown:
            raise ValueError(f"auto_approve: expected studies of allowed_studies, found {', '.join(unknown)}")
        return self

    @property
    def sha256(self) -> Sha256:
        """The hash of the policy's canonical encoding, as reports name it."""
        return sha256(encode(self))


class Owner(StrEnum):
    """Whose threshold holds."""

    SITE = "site"
    STUDY = "study"


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A threshold in force, and who asked for it; the site where both ask for the same."""

    value: int
    owner: Owner


@dataclass(frozen=True, kw_only=True)
class EffectiveRules:
    """The stricter of a site's policy and a study's wishes: all that the release rules need to know.

    Attributes
    ----------
    small_count
        A count below it, zero excepted, is hidden; 0 and 1 hide nothing.
    zeros_hidden
        Whether zero is hidden like any other small count.
    count_step
        1: counts that are not small leave exactly. More: each leaves as an interval of so many values.
    noise
        What noise the site asks for on counts, before anything is hidden; None for none.
    """

    plan: StudyPlan
    plan_sha256: Sha256
    site: SiteId
    requested: Profile
    applied: Profile
    minimum_cells: Threshold
    small_count: Threshold
    minimum_lots: Threshold
    zeros_hidden: bool
    count_step: int
    withheld: frozenset[OptionalField]
    policy_version: int
    policy_sha256: Sha256
    auto_approved: bool
    noise: NoisePolicy | None = None


def read_policy(data: bytes) -> SitePolicy:
    """Return the policy that a TOML document spells.

    Raises
    ------
    ProblemsError
        If anything in it is wrong: all problems are named.
    """
    return read_toml(SitePolicy, data, subject="the site policy")


def policy_or_refuse(data: bytes | None) -> SitePolicy:
    """Return the policy, for an agent that must answer with a code (SPEC 5.2: no policy, no release).

    Raises
    ------
    ProtocolError
        If there is none (``data`` is None), or it cannot be read.
    """
    if data is None:
        raise ProtocolError(ErrorCode.POLICY_MISSING, hint="write a policy.toml for this site")
    try:
        return read_policy(data)
    except ProblemsError as error:
        raise ProtocolError(ErrorCode.POLICY_DAMAGED, str(error), hint=error.hint) from None


def write_policy(policy: SitePolicy) -> bytes:
    """Return the policy as a TOML document with explaining comments; reading it gives the same policy."""
    return write_toml(policy, _COMMENTS)


def check_coordinator(policy: SitePolicy, fingerprint: Sha256) -> None:
    """Return if the policy allows the coordinator with this key.

    Raises
    ------
    ProtocolError
        Otherwise.
    """
    if fingerprint not in policy.allowed_coordinators:
        raise ProtocolError(
            ErrorCode.COORDINATOR_NOT_ALLOWED,
            f"Its key is {fingerprint}.",
            hint="compare the key with the one that the coordinator gave you, then add it to allowed_coordinators",
        )


def effective(policy: SitePolicy, plan: StudyPlan) -> EffectiveRules:
    """Return the rules in force: of each two thresholds the stricter (SPEC 5.3).

    Raises
    ------
    ProtocolError
        If the policy does not allow the study, the study asks for a module that it does not allow or has
        too few sites for it, or the plan does not name the site.
    """
    if plan.study not in policy.allowed_studies:
        raise ProtocolError(
            ErrorCode.STUDY_NOT_ALLOWED, f"It is {plan.study}.", hint="add the study to allowed_studies of the policy"
        )
    if policy.site not in plan.sites:
        raise ProtocolError(ErrorCode.WRONG_SITE, f"The plan does not name {policy.site}.")
    fewest = policy.thresholds.minimum_sites_per_study or 1
    if len(plan.sites) < fewest:
        raise ProtocolError(
            ErrorCode.STUDY_TOO_SMALL,
            f"Expected at least {fewest} sites, found {len(plan.sites)}.",
            hint="among few sites, aggregates tell more of each: lower minimum_sites_per_study only knowingly",
        )
    forbidden = sorted(plan.modules.names - set(policy.allowed_modules))
    if forbidden:
        raise ProtocolError(
            ErrorCode.MODULE_NOT_ALLOWED,
            f"It asks for {', '.join(forbidden)}.",
            hint="add the module to allowed_modules of the policy, if what it sends may leave",
        )
    defaults, own = PROFILE_THRESHOLDS[policy.profile], policy.thresholds
    applied = max(policy.profile, plan.disclosure.profile, key=_STRICTNESS.__getitem__)
    return EffectiveRules(
        plan=plan,
        plan_sha256=sha256(encode(plan)),
        site=policy.site,
        requested=plan.disclosure.profile,
        applied=applied,
        minimum_cells=_stricter(
            own.minimum_cells_per_lot, defaults.minimum_cells_per_lot, plan.quality.minimum_cells_per_lot
        ),
        small_count=_stricter(
            own.small_count_threshold, defaults.small_count_threshold, plan.disclosure.small_count_threshold
        ),
        minimum_lots=_stricter(
            own.minimum_lots_per_site, defaults.minimum_lots_per_site, plan.disclosure.minimum_lots_per_site
        ),
        zeros_hidden=applied is Profile.STRICT,
        count_step=STRICT_COUNT_STEP if applied is Profile.STRICT else 1,
        withheld=frozenset(policy.withheld_fields),
        policy_version=policy.version,
        policy_sha256=policy.sha256,
        auto_approved=plan.study in policy.auto_approve,
        noise=policy.noise,
    )


def _stricter(own: int | None, default: int, asked: int) -> Threshold:
    site = default if own is None else own
    return Threshold(value=site, owner=Owner.SITE) if site >= asked else Threshold(value=asked, owner=Owner.STUDY)


_COMMENTS: Final = {
    "": "What may leave this site, and who may ask. Without this file nothing leaves.",
    "version": "Raise it with every change: reports and the release log name it.",
    "profile": (
        "open: exact counts, at least 50 cells a lot. standard: 500 cells, counts of 1 to 4 hidden, 2 lots a site.\n"
        "strict: counts below 10 and zeros hidden, all counts as intervals of 5."
    ),
    "allowed_studies": "Studies that this site takes part in; no other gets an answer.",
    "allowed_coordinators": "Fingerprints of the coordinators' keys (SHA-256), as you got them by another way.",
    "auto_approve": "Studies whose releases leave without a person's approval. Empty: a steward approves each one.",
    "allowed_modules": "Study modules that may be asked: markers, attributes, comparability, specification.",
    "withheld_fields": "Optional fields that never leave: passage, period, median_mitochondrial_share.",
    "noise": (
        "Discrete Laplace noise on counts: what one report of a lot costs, and each lot's budget over all studies.\n"
        "It hides a cell, not a donor. Without this table there is no noise."
    ),
    "thresholds": "Thresholds of your own, in place of the profile's; the study may only ask for stricter ones.",
}
