"""``specify``: the release threshold of a study, signed; mounted by ``crosslot-coordinator``."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from coordinator.evidence.bundle import SPECIFICATION_FILE, evidence_of_home, read_evidence
from coordinator.home import CoordinatorHome
from coordinator.modules.specification_question import threshold_text
from coordinator.modules.specification_signing import (
    SPECIFICATION_LIMIT,
    marker_place,
    open_specification,
    question_of,
    seal_specification,
    specification_of,
    study_outcome,
)
from coordinator.signing_commands import read_public_key
from protocol.identifiers import StudyId
from protocol.modules.signed_specification import Specification
from protocol.modules.specification_results import RateRange, Side, SpecificationOutcome
from protocol.roster import Believed, open_plan
from protocol.signing import SigningKey, VerifyingKey
from shared.runtime.console import json_option, print_json, print_table, remark
from shared.runtime.files import read_bounded, write_atomically

_PATH: Final = click.Path(path_type=Path)
COLUMNS: Final = ("what", "value")


@click.command("specify")
@click.argument("study", metavar="STUDY")
@click.option("--home", "home_folder", type=_PATH, help="The coordinator's folder; STUDY is then a study's name.")
@click.option("--key", "key_path", type=_PATH, help="Without --home: the coordinator's signing key.")
@click.option("--coordinator-key", type=_PATH, help="Instead of --key: only show it, by this public key (.pub).")
@click.option("--endpoint", help="Another endpoint than the plan asks about.")
@click.option("--limit", type=click.FloatRange(0, min_open=True), help="Another limit of potency than the plan's.")
@click.option("--cluster", help="Another cluster than the plan's, or than the discovery's lead.")
@click.option(
    "--marker",
    metavar="GENE[@CLUSTER]",
    help="A marker predictor of the plan: the share of its marker-high cells instead of a cluster's.",
)
@click.option(
    "--confidence", type=click.FloatRange(0.5, 1, min_open=True, max_open=True), help="Of the prediction bound."
)
@click.option("--out", type=_PATH, help="Where it goes; without: to the study, for `bundle` and `release-results`.")
@json_option
def specify(
    study: str,
    home_folder: Path | None,
    key_path: Path | None,
    coordinator_key: Path | None,
    endpoint: str | None,
    limit: float | None,
    cluster: str | None,
    marker: str | None,
    confidence: float | None,
    out: Path | None,
    as_json: bool,  # noqa: FBT001 - click hands flags over
) -> None:
    """Derive the release threshold of a share (of a cluster, or of marker-high cells) from a finished study; sign it.

    Without --home, STUDY is the folder of a run. The plan's own question is answered unless options ask another; the
    specification then says that limit or share were chosen after the plan was signed. Exits with 1 if none exists.
    """
    if home_folder is not None and key_path is None and coordinator_key is None:
        home = CoordinatorHome(home_folder)
        key: SigningKey | None = home.key
        evidence, place = evidence_of_home(home, StudyId(study)), home.study(StudyId(study))
    elif (key_path is None) != (coordinator_key is None) and home_folder is None:
        key = None if key_path is None else SigningKey.load(key_path)
        evidence, place = read_evidence(Path(study)), Path(study) / "published"
    else:
        raise click.UsageError("expected either --home, or --key or --coordinator-key with the folder of a run")
    believed = read_public_key(coordinator_key) if coordinator_key is not None else _verifying(key)
    path = out or place / SPECIFICATION_FILE
    plan = open_plan(evidence.plan, believed)
    outcome = study_outcome(plan, evidence.roster, evidence.reports.items(), believed)
    question = question_of(
        plan.message,
        endpoint=endpoint,
        limit=limit,
        cluster=cluster,
        marker=None if marker is None else marker_place(plan.message, marker),
        confidence=confidence,
    )
    previous = _previous(path, believed)
    made = specification_of(plan, outcome, evidence.results, question, issued=datetime.now(UTC), previous=previous)
    unchanged = previous is not None and made == previous.message
    if key is not None and not unchanged:
        write_atomically(path, seal_specification(made, key))
    if as_json:
        document = made.model_dump(mode="json", by_alias=True)
        signed = None if key is None and not unchanged else str(path)
        print_json({"success": True, "file": signed, "unchanged": unchanged, "specification": document})
        return
    print_table(f"Specification of {made.study}, version {made.version}", COLUMNS, specification_rows(made))
    click.echo(made.basis.sentence)
    for doubt in made.basis.doubts:
        click.echo(f"Doubt: {doubt}.")
    if not made.basis.declared:
        click.echo("Limit, endpoint or share were chosen after the plan was signed.")
    if unchanged:
        remark(f"{path} says so already; nothing was written")
    else:
        remark("not signed; nothing was written" if key is None else f"wrote {path}")


def _verifying(key: SigningKey | None) -> VerifyingKey:
    assert key is not None  # noqa: S101 - one of the three was given
    return key.verifying_key


def specification_rows(specification: Specification) -> list[tuple[str, str]]:
    """Return a specification as rows of `COLUMNS`."""
    basis = specification.basis
    side = "at least" if basis.side is Side.AT_LEAST else "at most"
    rows = [
        ("outcome", "specification" if basis.outcome is SpecificationOutcome.THRESHOLD else "indicative only"),
        (f"share of {basis.share_of}", f"{side} {threshold_text(basis.threshold or 0.0)}"),
        ("the same from resampled data sets (95%)", _span(basis.threshold_low, basis.threshold_high)),
        ("resampled data sets without a threshold", _percent(basis.resamples_without)),
        ("false pass: passing lots below the limit", _rate(basis.false_pass)),
        ("false fail: sufficient lots turned away", _rate(basis.false_fail)),
        ("lots that pass", _percent(basis.passing)),
        ("rests on", f"{basis.n_units} donors, {basis.n_lots} lots, {basis.n_sites} sites"),
    ]
    if basis.seen is not None:
        rows.append(("shares seen", _span(basis.seen.low, basis.seen.high)))
    return rows


def _previous(path: Path, key: VerifyingKey) -> Believed[Specification] | None:
    if not path.exists():
        return None
    return open_specification(read_bounded(path, limit=SPECIFICATION_LIMIT, what="the specification before"), key)


def _span(low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return "not defined"
    return f"{100 * low:.3g}% to {100 * high:.3g}%"


def _percent(value: float | None) -> str:
    return "not defined" if value is None else f"{100 * value:.2g}%"


def _rate(rate: RateRange | None) -> str:
    if rate is None or rate.value is None:
        return "not defined"
    return f"{_percent(rate.value)} (resampled: {_span(rate.low, rate.high)})"
