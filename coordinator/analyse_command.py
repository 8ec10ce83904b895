"""From what was collected to an outcome: verify every envelope, then analyse."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator.analysis import analyse, parameters_from_plan, study_data_from_reports
from coordinator.signing_commands import read_public_key
from coordinator.study_data import StudyData
from protocol.admission import check_report_fits
from protocol.envelopes import PayloadType, envelope_limit, open_envelope
from protocol.errors import ProtocolError
from protocol.plan import Cohort, CohortRole, StudyPlan
from protocol.report import LotReport
from protocol.results import ResultSet
from protocol.roster import Believed, Roster, open_from_coordinator, open_plan, open_report
from shared.errors import InputError, ProblemsError
from shared.runtime.files import read_bounded


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """The results of a study, the table of lots that they were computed from, and which cohorts were for validation."""

    results: ResultSet
    data: StudyData
    validation_cohorts: tuple[str, ...]


def analyse_reports(plan: Believed[StudyPlan], reports: Sequence[LotReport]) -> Outcome:
    """Return the outcome of verified reports under the plan that they name."""
    data = study_data_from_reports(plan.message, reports)
    parameters = parameters_from_plan(plan.message, plan.payload_sha256)
    return Outcome(
        results=analyse(data, parameters), data=data, validation_cohorts=validation_cohorts(plan.message.cohorts)
    )


def validation_cohorts(cohorts: Iterable[Cohort]) -> tuple[str, ...]:
    """Return the names of the cohorts that take no part in discovery."""
    return tuple(cohort.cohort for cohort in cohorts if cohort.role is CohortRole.VALIDATION)


def verified_reports(
    plan: Believed[StudyPlan], roster: Roster, envelopes: Iterable[tuple[str, bytes]]
) -> tuple[LotReport, ...]:
    """Return the lot reports of (name, envelope) pairs, each signed by its site and fit for the plan.

    Raises
    ------
    ProblemsError
        With every envelope that does not hold.
    """
    reports: list[LotReport] = []
    problems: list[InputError] = []
    keys = {entry.site: roster.site_key(entry.site) for entry in roster.sites}
    site_of = {key.fingerprint: site for site, key in keys.items()}
    for name, envelope in envelopes:
        try:
            signer = open_envelope(envelope, PayloadType.LOT_REPORT, keys.values()).key_id
            report = open_report(envelope, roster, site_of[signer]).message
            check_report_fits(report, plan.message, plan.payload_sha256)
        except ProtocolError as error:
            problems.append(InputError(f"{name}: {error}", hint=error.hint))
        else:
            reports.append(report)
    if problems:
        raise ProblemsError("the collected envelopes", problems)
    if not reports:
        raise InputError("expected at least one lot report envelope, found none", hint="collect first")
    return tuple(reports)


def open_study(plan_path: Path, roster_path: Path, key_path: Path) -> tuple[Believed[StudyPlan], Roster]:
    """Return the plan and the roster that the coordinator of the public key at ``key_path`` signed.

    Raises
    ------
    InputError
        A file cannot be read, or the two are of different studies.
    ProtocolError
        A signature does not hold.
    """
    key = read_public_key(key_path)
    plan_data = read_bounded(plan_path, limit=envelope_limit(PayloadType.STUDY_PLAN), what="a signed study plan")
    roster_data = read_bounded(roster_path, limit=envelope_limit(PayloadType.ROSTER), what="a signed roster")
    plan = open_plan(plan_data, key)
    roster = open_from_coordinator(roster_data, Roster, PayloadType.ROSTER, key).message
    if plan.message.study != roster.study:
        raise InputError(f"{roster_path}: expected the roster of {plan.message.study}, found that of {roster.study}")
    return plan, roster


def read_envelopes(folder: Path) -> tuple[tuple[str, bytes], ...]:
    """Return (name, bytes) of every ``*.json`` in ``folder``, in the order of names.

    Raises
    ------
    InputError
        The folder is missing, or a file cannot be read or is larger than a lot report can be.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of lot report envelopes, found none", hint="check the path")
    limit = envelope_limit(PayloadType.LOT_REPORT)
    return tuple(
        (path.name, read_bounded(path, limit=limit, what="a lot report envelope"))
        for path in sorted(folder.glob("*.json"))
    )


def analyse_study(plan_path: Path, roster_path: Path, key_path: Path, envelopes: Path) -> Outcome:
    """Return the outcome of the envelopes in a folder, each verified (see :func:`verified_reports`)."""
    plan, roster = open_study(plan_path, roster_path, key_path)
    return analyse_reports(plan, verified_reports(plan, roster, read_envelopes(envelopes)))
