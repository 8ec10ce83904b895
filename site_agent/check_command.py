"""What ``crosslot-site check`` does: validate a site's folder, map its lots, and show exactly what would leave.

Nothing is sent and nothing is approved; what it shows is what the steward will be asked about. Where the policy asks
for noise it is drawn here as an example and forgotten: no budget is spent, and what leaves will bear another draw.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from protocol.codec import encode, sha256
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType, envelope_limit
from protocol.errors import ErrorCode, ProtocolError
from protocol.plan import StudyPlan
from protocol.policy import EffectiveRules, SitePolicy, effective, read_policy
from protocol.roster import open_plan
from protocol.signing import VerifyingKey
from protocol.study_draft import read_study_draft
from shared.atlas.artefact import MAXIMUM_BYTES, Atlas, from_bytes
from shared.errors import InputError, ProblemsError
from shared.runtime.files import appearing_whole, read_bounded, write_atomically
from site_agent.cells.diagnostics import diagnose
from site_agent.cells.lot_files import require_readable_files
from site_agent.cells.lots import Lot, SiteLots, read_site_folder_for
from site_agent.lot_reports import FolderReports, LotOutcome
from site_agent.release.lots_together import JudgedLot, judge_together
from site_agent.release.verdicts import Outcome, Verdict

T = TypeVar("T")

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
    doubts: tuple[str, ...]  # why the mapping should not be trusted blindly

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
    try:
        key = VerifyingKey.from_hex(text.decode("ascii", errors="replace").strip())
    except InputError as error:
        raise InputError(f"{coordinator_key}: {error}", hint="give the .pub file of the coordinator") from None
    return open_plan(data, key).message


def read_site(folder: Path, plan: StudyPlan, atlas: Path) -> SiteInput:
    """Return all that a check needs; what is wrong with policy, tables, cell files and atlas is raised at once.

    Raises
    ------
    ProblemsError
        With all that is missing or wrong.
    ProtocolError
        The site's policy does not allow the study, or the atlas is not the plan's.
    """
    problems: list[InputError] = []
    policy = _or_problem(problems, lambda: _read_policy(folder))
    atlas_bytes = _or_problem(problems, lambda: read_bounded(atlas, limit=MAXIMUM_BYTES, what="the reference atlas"))
    reference = None if atlas_bytes is None else _or_problem(problems, lambda: from_bytes(atlas_bytes))
    site = _or_problem(problems, lambda: read_site_folder_for(folder, plan))
    if site is not None:
        _or_problem(problems, lambda: require_readable_files(site, reference))
    secret = folder / SECRET_FILE
    if problems or policy is None or site is None or atlas_bytes is None:
        raise ProblemsError(f"site folder {folder}", problems)
    if sha256(atlas_bytes) != plan.atlas.sha256:
        raise ProtocolError(ErrorCode.ATLAS_MISMATCH, f"It is {atlas}.", hint="fetch the study's atlas again")
    return SiteInput(
        plan=plan,
        rules=effective(policy, plan),
        site=site,
        atlas=atlas_bytes,
        secret=read_bounded(secret, limit=_SECRET_LIMIT, what="the pseudonym secret") if secret.exists() else None,
    )


def _or_problem(problems: list[InputError], step: Callable[[], T]) -> T | None:
    """Return what ``step`` returns; what it finds wrong is added to ``problems``."""
    try:
        return step()
    except ProblemsError as error:
        problems.extend(error.problems)
    except InputError as error:
        problems.append(error)
    return None


def _read_policy(folder: Path) -> SitePolicy:
    data = read_bounded(folder / POLICY_FILE, limit=_POLICY_LIMIT, what="the site's policy")
    try:
        return read_policy(data)
    except ProblemsError as error:
        raise ProblemsError(
            POLICY_FILE, [InputError(f"{POLICY_FILE}: {each}", hint=each.hint) for each in error.problems]
        ) from None


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
    made_of = {each.report.lot: each.made_of for each in outcomes if each.report is not None}
    judged = iter(
        judge_together(
            [each.report for each in outcomes if each.report is not None],
            given.rules,
            noise=lambda report: reports.noise.standing(made_of[report.lot]),
        )
    )
    atlas = from_bytes(given.atlas)
    return CheckedSite(
        rules=given.rules,
        lots=tuple(_checked(each, None if each.report is None else next(judged), atlas) for each in outcomes),
        pseudonyms_are_examples=given.secret is None,
    )


def _checked(outcome: LotOutcome, judged: JudgedLot | None, atlas: Atlas) -> CheckedLot:
    doubts = tuple(warning.sentence for warning in diagnose(atlas, outcome.mapping).warnings)
    if judged is None:
        return CheckedLot(outcome=outcome, payload=None, verdicts=(), doubts=doubts)
    payload = None if judged.failures else encode(judged.report)
    return CheckedLot(outcome=outcome, payload=payload, verdicts=judged.verdicts, doubts=doubts)


def write_payloads(checked: CheckedSite, out: Path) -> None:
    """Write the exact bytes that would leave, one file a lot, named by the lot's position in ``lots.csv``."""
    with appearing_whole(out) as work:
        for number, lot in enumerate(checked.lots, start=1):
            if lot.payload is not None:
                write_atomically(work / f"lot-{number:03d}.json", lot.payload)
