"""``analyse`` and ``report``: from what sites released, or from plain tables, to a finding; the script mounts them."""

from pathlib import Path

import click

from coordinator.analyse_command import analyse_study
from coordinator.api import Change
from coordinator.report.table import (
    ASSOCIATION_COLUMNS,
    ATTRIBUTE_COLUMNS,
    MARKER_COLUMNS,
    VALIDATION_COLUMNS,
    association_rows,
    attribute_rows,
    comparability_lines,
    marker_rows,
    validation_rows,
)
from coordinator.table_command import analyse_tables
from coordinator.written import REPORT_FILE, RESULTS_FILE, edition_named, headline, report_html, write_outcome
from protocol.codec import sha256
from protocol.plan import Alternative, Strata
from protocol.results import ResultSet, VerdictCode
from shared.runtime.console import json_option, print_json, print_table, remark
from shared.runtime.files import write_atomically

_FILE = click.Path(path_type=Path)


@click.command("analyse")
@click.option("--plan", type=_FILE, help="The signed plan.")
@click.option("--roster", type=_FILE, help="The signed roster: whose key is whose.")
@click.option("--coordinator-key", type=_FILE, help="The public key (.pub) whose signatures to believe.")
@click.option("--envelopes", type=_FILE, help="The folder of collected lot report envelopes (*.json).")
@click.option("--counts", type=_FILE, help="Instead of a study: a table of lots by clusters (CSV).")
@click.option("--potency", type=_FILE, help="With --counts: a table of potency values (CSV).")
@click.option("--change", help="With --counts, whose column arm says before or after: the change of process, in words.")
@click.option(
    "--margin-fold", type=click.FloatRange(1, 10, min_open=True), default=1.5, show_default=True, help="With --change."
)
@click.option(
    "--margin-reason", help="With --change: why lots within the margin count as alike; without: a placeholder."
)
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    help="With --counts: the potency that a released lot must reach.",
)
@click.option("--limit-cluster", help="With --limit: whose share predicts it; without: the lead that is found.")
@click.option("--attributes", type=_FILE, help="With --counts: a table of lot-level attributes (CSV).")
@click.option("--shares", is_flag=True, help="With --counts: the table holds shares, not cells.")
@click.option("--small-counts", type=click.IntRange(2), help="With --counts: counts written as minus this are hidden.")
@click.option("--alpha", type=click.FloatRange(0, 0.5, min_open=True, max_open=True), default=0.05, show_default=True)
@click.option(
    "--strata", type=click.Choice([each.value for each in Strata]), default="site-and-tissue", show_default=True
)
@click.option(
    "--alternative", type=click.Choice([each.value for each in Alternative]), default="two-sided", show_default=True
)
@click.option("--draws", type=click.IntRange(99, 1_000_000), default=9_999, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the permutations.")
@click.option("--out", type=_FILE, required=True, help="Where results.json and report.html go.")
@json_option
def analyse(
    plan: Path | None,
    roster: Path | None,
    coordinator_key: Path | None,
    envelopes: Path | None,
    counts: Path | None,
    potency: Path | None,
    change: str | None,
    margin_fold: float,
    margin_reason: str | None,
    limit: float | None,
    limit_cluster: str | None,
    attributes: Path | None,
    shares: bool,  # noqa: FBT001 - click hands flags over
    small_counts: int | None,
    alpha: float,
    strata: str,
    alternative: str,
    draws: int,
    seed: int,
    out: Path,
    as_json: bool,  # noqa: FBT001 - click hands flags over
) -> None:
    """Correlate composition with potency: of collected envelopes, each verified, or of plain tables.

    A study's plan fixes alpha, strata, direction, draws and seed; the options of these names are for --counts. Exits
    with 1 if the lots are too few, or too alike, to answer; results and report then say why.
    """
    if plan and roster and coordinator_key and envelopes and not (counts or potency or attributes):
        outcome = analyse_study(plan, roster, coordinator_key, envelopes)
    elif counts and potency and not (plan or roster or coordinator_key or envelopes):
        outcome = analyse_tables(
            counts,
            potency,
            alpha=alpha,
            seed=seed,
            draws=draws,
            strata=Strata(strata),
            alternative=Alternative(alternative),
            shares=shares,
            small_count_threshold=small_counts,
            attributes=attributes,
            change=None
            if change is None
            else Change(what=change, margin_fold=margin_fold, justification=margin_reason),
            limit=limit,
            limit_cluster=limit_cluster,
        )
    else:
        raise click.UsageError(
            "expected either --plan, --roster, --coordinator-key and --envelopes, or --counts and --potency"
        )
    write_outcome(outcome, out)
    show_results(outcome.results, as_json=as_json)
    remark(f"wrote {out / RESULTS_FILE} and {out / REPORT_FILE}")
    fail_if_unanswered(outcome.results)


@click.command("report")
@click.option("--plan", type=_FILE, required=True, help="The signed plan.")
@click.option("--roster", type=_FILE, required=True, help="The signed roster: whose key is whose.")
@click.option("--coordinator-key", type=_FILE, required=True, help="The public key (.pub) whose signatures to believe.")
@click.option("--envelopes", type=_FILE, required=True, help="The folder of collected lot report envelopes (*.json).")
@click.option("--edition", default="coordinator", show_default=True, help="coordinator, public, or the name of a site.")
@click.option("--out", type=_FILE, required=True, help="The page to write (HTML).")
@json_option
def report(
    plan: Path,
    roster: Path,
    coordinator_key: Path,
    envelopes: Path,
    edition: str,
    out: Path,
    as_json: bool,  # noqa: FBT001 - click hands flags over
) -> None:
    """Write the report for one reader: a site sees its own lots and aggregates, the public aggregates only."""
    outcome = analyse_study(plan, roster, coordinator_key, envelopes)
    page = report_html(outcome, edition_named(edition, outcome))
    write_atomically(out, page)
    if as_json:
        written = {"report": str(out), "edition": edition, "sha256": sha256(page)}
        print_json({"success": True, **written, **headline(outcome.results)})
    remark(f"wrote {out}")


def fail_if_unanswered(results: ResultSet) -> None:
    """Exit with 1 where the data could answer for no endpoint: a script must not take a refusal for a finding."""
    if all(verdict.code is VerdictCode.REFUSED for verdict in results.verdicts):
        remark("error: the study cannot answer its question: " + " ".join(each.sentence for each in results.verdicts))
        click.get_current_context().exit(1)


def show_results(results: ResultSet, *, as_json: bool) -> None:
    """Print the associations, what validation found, and the verdicts to stdout."""
    if as_json:
        print_json(results.model_dump(mode="json"))
        return
    print_table(results.study.title, ASSOCIATION_COLUMNS, association_rows(results))
    if results.markers:
        print_table("Markers", MARKER_COLUMNS, marker_rows(results))
    if results.attributes:
        print_table("Attributes", ATTRIBUTE_COLUMNS, attribute_rows(results))
    if results.validation:
        print_table("Validation", VALIDATION_COLUMNS, validation_rows(results))
    for verdict in results.verdicts:
        click.echo(verdict.sentence)
    if results.specification is not None:
        click.echo(results.specification.sentence)
    for line in comparability_lines(results):
        click.echo(line)
