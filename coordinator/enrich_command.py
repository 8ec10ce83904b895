"""``enrich``: which gene sets of a user's GMT file are over-represented among a study's markers."""

import csv
import io
from pathlib import Path

import click
from pydantic import ValidationError

from coordinator.modules.gene_sets import GMT_LIMIT, EnrichedSet, enriched_sets, read_gene_sets
from coordinator.report.downloads import plain_cell
from protocol.envelopes import PAYLOAD_LIMITS, PayloadType
from protocol.results import ResultSet
from shared.errors import InputError
from shared.pages.rounding import p_text
from shared.runtime.console import json_option, print_json, print_table, remark
from shared.runtime.files import read_bounded, write_atomically

_FILE = click.Path(path_type=Path)
_MOST_SHOWN = 12
_COLUMNS = ("cluster", "direction", "gene_set", "overlap", "expected", "in_background", "markers", "background")


@click.command("enrich")
@click.argument("results", metavar="RESULTS.json", type=_FILE)
@click.option("--gmt", type=_FILE, required=True, help="Gene sets, one a line: name, description, genes, by tabs.")
@click.option("--cluster", help="Only this cluster; without: all that have markers.")
@click.option("--out", type=_FILE, help="Write every set as CSV, too.")
@json_option
def enrich(
    results: Path,
    gmt: Path,
    cluster: str | None,
    out: Path | None,
    as_json: bool,  # noqa: FBT001 - click hands flags over
) -> None:
    """Test which gene sets hold more of a cluster's markers than chance would put there.

    The hypergeometric test, Benjamini-Hochberg over the sets of each cluster and direction. The background is the genes
    that the study tested, which is its allow-list: a set is enriched against that list, not against the genome.
    """
    answer = _read_results(results)
    if answer.markers is None:
        raise InputError(
            f"{results}: expected results with markers, found none", hint="the plan asks by modules.markers"
        )
    sets = read_gene_sets(read_bounded(gmt, limit=GMT_LIMIT, what="a GMT file"), name=gmt.name)
    found = enriched_sets(answer.markers, sets, alpha=answer.study.alpha, cluster=cluster)
    if out is not None:
        write_atomically(out, _as_csv(found))
    if as_json:
        print_json({"success": True, "background": "allow-list", "sets": [_as_record(each) for each in found]})
        return
    best = sorted(found, key=lambda each: (each.enrichment.q_value, each.enrichment.p_value, each.cluster))
    print_table(
        f"Gene sets among markers: {sum(each.enrichment.q_value <= answer.study.alpha for each in found)} of "
        f"{len(found)} with q within {answer.study.alpha:g}",
        ("cluster", "markers", "gene set", "overlap", "expected", "p", "q"),
        [_as_row(each) for each in best[:_MOST_SHOWN]],
    )
    remark(f"the background is the {answer.markers.genes} genes of the study's allow-list, not the genome")
    if len(found) > _MOST_SHOWN:
        remark(f"{len(found) - _MOST_SHOWN} more sets: all by --json or --out FILE.csv")


def _read_results(path: Path) -> ResultSet:
    data = read_bounded(path, limit=PAYLOAD_LIMITS[PayloadType.RESULTS], what="the results of a study")
    try:
        return ResultSet.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InputError(
            f"{path}: expected results.json of a study, found something else ({first['msg']})",
            hint="give the file that `analyse` or a run wrote",
        ) from None


def _as_record(each: EnrichedSet) -> dict[str, object]:
    found = each.enrichment
    return {
        "cluster": each.cluster,
        "direction": each.direction,
        "gene_set": found.name,
        "overlap": len(found.overlap),
        "expected": found.expected,
        "in_background": found.in_background,
        "markers": found.markers,
        "background": found.background,
        "p_value": found.p_value,
        "q_value": found.q_value,
        "genes": list(found.overlap),
    }


def _as_row(each: EnrichedSet) -> tuple[str, ...]:
    found = each.enrichment
    return (
        each.cluster,
        each.direction,
        found.name,
        f"{len(found.overlap)} of {found.in_background}",
        f"{found.expected:.1f}",
        p_text(found.p_value),
        p_text(found.q_value),
    )


def _as_csv(found: tuple[EnrichedSet, ...]) -> bytes:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow((*_COLUMNS, "p_value", "q_value", "genes"))
    for each in found:
        record = _as_record(each)
        values = [record[name] for name in (*_COLUMNS, "p_value", "q_value")]
        cells = [plain_cell(value) if isinstance(value, str) else value for value in values]
        writer.writerow((*cells, " ".join(each.enrichment.overlap)))
    return buffer.getvalue().encode()
