"""``compare``: lots before and after a change of process, compared at the site; the console script mounts it."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from shared.comparability.findings import Outcome
from shared.runtime.console import json_option, print_json, progress, remark
from shared.runtime.files import write_atomically

if TYPE_CHECKING:
    from site_agent.comparing.given import Consortium

# The mapper (numba) and the templates are imported within the command: --help and wrong arguments answer at once.

_PATH: Final = click.Path(path_type=Path)
_UNANSWERED: Final = frozenset({Outcome.METHOD_INADEQUATE, Outcome.INSUFFICIENT_DATA})


@click.command("compare")
@click.argument("folder", type=_PATH)
@click.option("--atlas", type=_PATH, required=True, help="The atlas to map onto.")
@click.option("--plan", type=_PATH, help="The signed plan, or a draft (study.toml), that fixes the criteria.")
@click.option("--ranges", type=_PATH, help="Signed results of the consortium: their ranges of the lots before.")
@click.option("--coordinator-key", type=_PATH, help="With a signed plan or --ranges: the coordinator's .pub file.")
@click.option("--change", help="Without a plan: the change of process, in words; the margin is then a placeholder.")
@click.option("--endpoint", help="Without a plan: which endpoint of potency.csv is compared.")
@click.option("--out", type=_PATH, required=True, help="The page to write (HTML).")
@click.option("--threads", type=click.IntRange(1), help="Worker threads; without: one for each core.")
@json_option
def compare(
    folder: Path,
    atlas: Path,
    plan: Path | None,
    ranges: Path | None,
    coordinator_key: Path | None,
    change: str | None,
    endpoint: str | None,
    out: Path,
    threads: int | None,
    as_json: bool,  # noqa: FBT001 - click hands flags over
) -> None:
    """Compare the lots in FOLDER before and after a change of process. Nothing is sent.

    FOLDER holds lots.csv with a column arm (before, after), potency.csv and the cell files. Exits with 1 where the
    method or the number of lots cannot carry an answer.
    """
    from site_agent.comparing.comparison import compare_site  # noqa: PLC0415 - numba
    from site_agent.comparing.given import read_given  # noqa: PLC0415 - the same
    from site_agent.comparing.page import render_comparison  # noqa: PLC0415 - jinja2

    given = read_given(
        folder,
        atlas,
        plan=plan,
        coordinator_key=coordinator_key,
        ranges=ranges,
        change=change,
        endpoint=endpoint,
    )
    with progress("mapping lots", len(given.site.lots), unit="lots") as advance:
        compared = compare_site(given, done=lambda _lot: advance(), threads=threads)
    write_atomically(out, render_comparison(given, compared))
    findings = compared.findings
    if as_json:
        left_out = [asdict(each) for each in compared.left_out]
        print_json(
            {
                "success": True,
                "page": str(out),
                "findings": asdict(findings),
                "left_out": left_out,
                "consortium": None if given.consortium is None else _consortium(given.consortium),
            }
        )
    else:
        click.echo(f"{findings.outcome.value}: {findings.sentence}")
        for note in findings.notes:
            click.echo(note)
        for step in findings.next_steps:
            click.echo(f"Next: {step}")
    for each in compared.left_out:
        remark(f"not compared: lot {each.lot}: {each.reason}")
    remark(f"wrote {out}")
    remark("Nothing has left this machine.")
    if findings.outcome in _UNANSWERED:
        click.get_current_context().exit(1)


def _consortium(given: "Consortium") -> dict[str, object]:
    return {
        "study": given.study,
        "results_sha256": given.results_sha256,
        "noised": given.ranges.noised,
        "lost_in_noise": given.lost_in_noise,
    }
