"""What ``crosslot-site check`` does: validate a site's folder, map its lots, and show exactly what would leave.

Nothing is sent and nothing is approved; what it shows is what the steward will be asked about.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from protocol.codec import encode
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType, envelope_limit
from protocol.plan import StudyPlan
from protocol.policy import EffectiveRules, effective, read_policy
from protocol.roster import open_plan
from protocol.signing import VerifyingKey
from protocol.study_draft import read_study_draft
from shared.atlas.artefact import MAXIMUM_BYTES
from shared.errors import InputError
from shared.runtime.files import appearing_whole, read_bounded, write_atomically
from site_agent.cells.lot_files import require_readable_files
from site_agent.cells.lots import Lot, SiteLots, read_site_folder
from site_agent.lot_reports import FolderReports, LotOutcome
from site_agent.release.disclosure import judge
from site_agent.release.verdicts import Outcome, Verdict

POLICY_FILE = "policy.toml"
SECRET_FILE = "pseudonym.secret"  # noqa: S105 - a file's name
EXAMPLE_SECRET = bytes(32)
"""Stands in where a site has no secret yet: the pseudonyms shown are then examples."""

_POLICY_LIMIT = 256 * 1024
_SECRET_LIMIT = 4_096


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckedLot:
    """One lot, and what would leave about it: the exact payload, or why there is none."""

    outcome: LotOutcome
    payload: bytes | None
    verdicts: tuple[Verdict, ...]

    @property
    def blocked_by(self) -> tuple[str, ...]:
        """Why nothing of the lot would leave; empty where it would."""
        failed = tuple(each.reason for each in self.verdicts if each.outcome is Outcome.FAIL)
        return self.outcome.withheld + failed


@dataclass(frozen=True, kw_only=True, eq=False)
class CheckedSite:
    """All lots of a site, under the rules in force."""

    rules: EffectiveRules
    lots: tuple[CheckedLot, ...]
    pseudonyms_are_examples: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class SiteInput:
    """What a check works on, read and found whole."""

    plan: StudyPlan
    rules: EffectiveRules
    site: SiteLots
    atlas: bytes
    secret: bytes | None


def read_plan(path: Path, coordinator_key: Path | None) -> StudyPlan:
    """Return the plan in a signed file, or in a draft (``.toml``).

    Raises
    ------
    InputError
        It cannot be read, or a signed plan comes without the key to check it by.
    """
    if path.suffix == ".toml":
        limit = PAYLOAD_LIMITS[PayloadType.STUDY_PLAN]
        return read_study_draft(read_bounded(path, limit=limit, what="a study draft (study.toml)"))
    data = read_bounded(path, limit=envelope_limit(PayloadType.STUDY_PLAN), what="a signed study plan")
    if coordinator_key is None:
        raise InputError(
            f"{path}: expected --coordinator-key with a signed plan",
            hint="give the coordinator's .pub file, or a draft study.toml",
        )
    text = read_bounded(coordinator_key, limit=_SECRET_LIMIT, what="a public key (.pub)")
    return open_plan(data, VerifyingKey.from_hex(text.decode("ascii", errors="replace").strip())).message


def read_site(folder: Path, plan: StudyPlan, atlas: Path) -> SiteInput:
    """Return all that a check needs; every problem of the folder's tables and files is raised at once.

    Raises
    ------
    ProblemsError, InputError
        What is missing or wrong.
    ProtocolError
        The site's policy does not allow the study.
    """
    policy = read_policy(read_bounded(folder / POLICY_FILE, limit=_POLICY_LIMIT, what="the site's policy"))
    rules = effective(policy, plan)
    site = read_site_folder(folder, plan.endpoints, cohorts=plan.cohorts)
    require_readable_files(site)
    secret = folder / SECRET_FILE
    return SiteInput(
        plan=plan,
        rules=rules,
        site=site,
        atlas=read_bounded(atlas, limit=MAXIMUM_BYTES, what="the reference atlas"),
        secret=read_bounded(secret, limit=_SECRET_LIMIT, what="the pseudonym secret") if secret.exists() else None,
    )


def check_site(
    given: SiteInput, *, done: Callable[[Lot], None], log: Callable[[str], None], threads: int | None = None
) -> CheckedSite:
    """Map every lot and judge what would leave of it."""
    reports = FolderReports(
        site=given.site,
        atlas=given.atlas,
        secret=given.secret or EXAMPLE_SECRET,
        done=done,
        log=log,
        threads=threads,
    )
    outcomes = tuple(reports.outcomes(given.rules))
    offered = sum(outcome.report is not None for outcome in outcomes)
    return CheckedSite(
        rules=given.rules,
        lots=tuple(_checked(outcome, given.rules, offered) for outcome in outcomes),
        pseudonyms_are_examples=given.secret is None,
    )


def _checked(outcome: LotOutcome, rules: EffectiveRules, offered: int) -> CheckedLot:
    if outcome.report is None:
        return CheckedLot(outcome=outcome, payload=None, verdicts=())
    verdicts = judge(outcome.report, rules, lots_offered=offered)
    blocked = any(verdict.outcome is Outcome.FAIL for verdict in verdicts)
    return CheckedLot(outcome=outcome, payload=None if blocked else encode(outcome.report), verdicts=verdicts)


def write_payloads(checked: CheckedSite, out: Path) -> None:
    """Write the exact bytes that would leave, one file a lot, named by the lot's position in ``lots.csv``."""
    with appearing_whole(out) as work:
        for number, lot in enumerate(checked.lots, start=1):
            if lot.payload is not None:
                write_atomically(work / f"lot-{number:03d}.json", lot.payload)
