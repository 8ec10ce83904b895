"""``crosslot-site``: what a manufacturer or a lab does with its own cells."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shared.errors import InputError
from shared.runtime.console import CommandGroup, json_option, print_json, print_table, progress, remark
from site_agent.atlas_show.commands import show, verify

if TYPE_CHECKING:
    from site_agent.cells.lots import CellFilter

# What each command works with (h5py, scanpy) is imported within it, and commands of other modules when they are called:
# --help and wrong arguments answer at once.

_PATH = click.Path(path_type=Path)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crosslot")
def main() -> None:
    """Map your own cells, see exactly what would leave, and build an atlas. Cells never leave the site."""


@main.command("check")
@click.argument("folder", type=_PATH)
@click.option("--study", "study", type=_PATH, required=True, help="The signed plan, or a draft (study.toml).")
@click.option("--coordinator-key", type=_PATH, help="With a signed plan: the coordinator's public key (.pub).")
@click.option("--atlas", type=_PATH, required=True, help="The study's atlas file.")
@click.option("--out", type=_PATH, help="Write the exact bytes that would leave here, one file a lot.")
@click.option("--threads", type=click.IntRange(1), help="Worker threads; without: one for each core.")
@json_option
def check(
    folder: Path,
    study: Path,
    coordinator_key: Path | None,
    atlas: Path,
    out: Path | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Validate the lots in FOLDER, map them, and show exactly what would leave. Nothing is sent.

    FOLDER holds lots.csv, potency.csv, policy.toml and the cell files. Exits with 1 if a lot would not be reported.
    """
    from site_agent.check_command import check_site, read_plan, read_site, write_payloads  # noqa: PLC0415 - what it works with is slow to import
    from site_agent.check_shown import (  # noqa: PLC0415 - the same
        LOT_COLUMNS,
        as_document,
        common_rows,
        count_rows,
        field_rows,
        lot_rows,
    )

    given = read_site(folder, read_plan(study, coordinator_key), atlas)
    with progress("mapping lots", len(given.site.lots), unit="lots") as advance:
        checked = check_site(given, done=lambda _lot: advance(), log=remark, threads=threads)
    if out is not None:
        write_payloads(checked, out)
    if as_json:
        print_json(as_document(checked))
    else:
        rules = checked.rules
        print_table(f"Lots of {rules.site} for study {rules.plan.study}", LOT_COLUMNS, lot_rows(checked))
        lots = tuple(lot.outcome.lot.lot for lot in checked.lots)
        print_table("What would leave: cells by cluster", ("cluster", *lots), count_rows(checked))
        print_table("What would leave: in every lot", ("field", "value"), common_rows(checked))
        print_table("What would leave: lot by lot", ("field", *lots), field_rows(checked))
        click.echo(
            f"Rules: profile {rules.applied.value} (asked for: {rules.requested.value}), "
            f"at least {rules.minimum_cells.value} cells a lot ({rules.minimum_cells.owner.value}), "
            + (
                f"counts below {rules.small_count.value} hidden ({rules.small_count.owner.value})."
                if rules.small_count.value > 1
                else f"exact counts ({rules.small_count.owner.value})."
            )
        )
    for lot in checked.lots:
        for doubt in lot.doubts:
            remark(f"doubt: lot {lot.outcome.lot.lot}: {doubt}")
    remark("Nothing has left this machine.")
    if checked.pseudonyms_are_examples:
        remark("The pseudonyms in the payloads are examples: this site has no secret of its own yet.")
    if checked.rules.noise is not None:
        remark("The noise on the counts is an example: none of it is kept, no budget is spent, and another will leave.")
    if any(lot.blocked_by for lot in checked.lots):
        click.get_current_context().exit(1)


@main.command("map")
@click.argument("cells", type=_PATH)
@click.option("--atlas", type=_PATH, required=True, help="The atlas to map onto.")
@click.option("--out", type=_PATH, required=True, help="Where cells.parquet and summary.json go.")
@click.option("--where", metavar="COL=VALUE", multiple=True, help="Only cells with this value; may be given again.")
@click.option("--layer", help="The layer that holds the counts; without: X.")
@click.option("--annotate", is_flag=True, help="Write the result into the file's obs too.")
@click.option("--threads", type=click.IntRange(1), help="Worker threads; without: one for each core.")
@json_option
def map_(
    cells: Path,
    atlas: Path,
    out: Path,
    where: tuple[str, ...],
    layer: str | None,
    annotate: bool,
    threads: int | None,
    as_json: bool,
) -> None:
    """Map the cells of one file onto an atlas. Everything stays here."""
    # Mapping multiplies no matrices: OpenBLAS's threads would only wait, and do so by spinning.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from msgspec import to_builtins  # noqa: PLC0415 - as below

    from site_agent.cells.map_command import map_file  # noqa: PLC0415 - imports h5py
    from site_agent.cells.scout import SCOUT  # noqa: PLC0415 - as above

    SCOUT.start()  # it loads while the terminal is made ready
    last = 0
    with progress("mapping cells", unit="cells") as advance:

        def moved(done: int, _total: int) -> None:
            nonlocal last
            advance(done - last)
            last = done

        summary = map_file(
            cells,
            atlas,
            out,
            where=_filters(where),
            layer=layer,
            annotate=annotate,
            threads=threads,
            progress=moved,
        )
    if as_json:
        print_json(to_builtins(summary))
    else:
        from site_agent.cells.map_shown import CLUSTER_COLUMNS, cluster_rows  # noqa: PLC0415 - as above

        print_table(f"{cells.name} on {summary.atlas}", CLUSTER_COLUMNS, cluster_rows(summary))
    for doubt in summary.trust.warnings:
        remark(f"doubt: {doubt.sentence}")
    remark(f"wrote {out / 'cells.parquet'} and {out / 'summary.json'}")


def _filters(texts: tuple[str, ...]) -> "tuple[CellFilter, ...]":
    if not texts:
        return ()
    from site_agent.cells.lots import parse_where  # noqa: PLC0415 - knows the study plan, whose models load slowly

    return tuple(each for text in texts for each in parse_where(text))


@main.group("atlas")
def atlas_group() -> None:
    """Build a reference atlas from your own cells, and look into one."""


atlas_group.add_command(show)
atlas_group.add_command(verify)


@atlas_group.command("build")
@click.argument("files", metavar="FILE.h5ad...", nargs=-1, required=True, type=_PATH)
@click.option("--lot", metavar="COL", required=True, help="The obs column that names each cell's lot.")
@click.option("--labels", metavar="COL", help="The obs column of your own labels.")
@click.option("--cluster", is_flag=True, help="Instead of labels: cluster the pooled cells (Leiden).")
@click.option(
    "--resolution", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True, help="Of Leiden."
)
@click.option("--modality", type=click.Choice(["counts", "morphology"]), default="counts", show_default=True)
@click.option("--control", metavar="COL=VALUE", help="Of morphology: which cells are of control wells.")
@click.option("--name", help="The atlas's name; without: the first file's.")
@click.option("--layer", help="The layer that holds the counts; without: X.")
@click.option("--where", metavar="COL=VALUE", multiple=True, help="Only cells with this value; may be given again.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--out", metavar="A.atlas", type=_PATH, required=True, help="The atlas file to write.")
@json_option
def atlas_build(
    files: tuple[Path, ...],
    lot: str,
    labels: str | None,
    cluster: bool,
    resolution: float,
    modality: str,
    control: str | None,
    name: str | None,
    layer: str | None,
    where: tuple[str, ...],
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Fit an atlas to reference lots: parameters only, no cell and no embedding of a cell goes into it."""
    if (labels is None) == (not cluster):
        raise InputError("expected either --labels COL or --cluster", hint="labels of your own are the better ground")
    from shared.atlas.artefact import sha256, to_bytes  # noqa: PLC0415 - as below
    from shared.runtime.files import write_atomically  # noqa: PLC0415 - as below
    from site_agent.cells.atlas_builder import build_atlas  # noqa: PLC0415 - imports scanpy
    from site_agent.cells.lot_files import require_sound_files  # noqa: PLC0415 - as above
    from site_agent.cells.lots import parse_where  # noqa: PLC0415 - as above
    from site_agent.cells.morphology_builder import build_morphology_atlas  # noqa: PLC0415 - as above

    marks = parse_where(control or "")
    if (modality == "morphology") != (len(marks) == 1) or (marks and (cluster or where)):
        raise InputError(
            "expected --control COL=VALUE with --modality morphology and with no other, and --labels COL with it",
            hint="morphology is scored against control wells, and its clusters are your own labels",
        )
    if not marks:
        require_sound_files(files, layer)
    last = 0
    with progress("fitting, and leaving each lot out in turn", unit="lots") as advance:

        def moved(done: int, _total: int) -> None:
            nonlocal last
            advance(done - last)
            last = done

        atlas = (
            build_morphology_atlas(
                list(files),
                lot=lot,
                labels=labels or "",
                control=(marks[0].column, marks[0].value),
                name=name or files[0].stem[:64],
                seed=seed,
                layer=layer,
                progress=moved,
            )
            if marks
            else build_atlas(
                list(files),
                lot=lot,
                name=name or files[0].stem[:64],
                seed=seed,
                labels=labels,
                cluster=cluster,
                resolution=resolution,
                where=tuple((each.column, each.value) for text in where for each in parse_where(text)),
                layer=layer,
                progress=moved,
            )
        )
    data = to_bytes(atlas)
    write_atomically(out, data)
    if as_json:
        print_json(
            {
                "success": True,
                "atlas": str(out),
                "sha256": sha256(data),
                "bytes": len(data),
                "clusters": list(atlas.clusters),
            }
        )
    else:
        click.echo(f"{atlas.name}: {len(atlas.clusters)} clusters, {len(data):,} bytes, SHA-256 {sha256(data)}")
    remark(f"wrote {out}; next: crosslot-site atlas show {out}")


_LOADED_WHEN_CALLED = (
    ("home", "site_agent.review.commands:home_group", "Make a site's home: its keys, its secret, its settings."),
    (
        "review",
        "site_agent.review.commands:review",
        "See what waits to leave this site, and decide: approve, withhold clusters, refuse.",
    ),
    (
        "policy",
        "site_agent.review.record_commands:policy",
        "Show, explain and check the site's own policy: what may leave, and who may ask.",
    ),
    (
        "log",
        "site_agent.review.record_commands:log",
        "Read and verify the ledger: everything that was asked of this site and released by it.",
    ),
    (
        "terms",
        "site_agent.review.commands:terms",
        "Read and accept a study's terms: nothing is computed for a study before.",
    ),
    (
        "compare",
        "site_agent.comparing.commands:compare",
        "Compare the lots in FOLDER before and after a change of process.",
    ),
    (
        "qualify",
        "site_agent.qualification.commands:qualify",
        "Hold the lot in LOT_FILE against a signed specification: meets it, does not, or cannot be judged.",
    ),
    (
        "monitor",
        "site_agent.qualification.commands:monitor",
        "Chart the site's qualified lots over time: control limits from 20 lots on, and whether the share drifts.",
    ),
    (
        "join",
        "site_agent.network_commands:join",
        "Join a coordinator by INVITE, a file (or - for stdin), and look as the doctor does.",
    ),
    (
        "doctor",
        "site_agent.network_commands:doctor",
        "Check all that a study needs of this machine and network: each PASSED, or what to do.",
    ),
    (
        "serve",
        "site_agent.network_commands:serve",
        "Answer the coordinator until stopped: one outbound connection, nothing listens but on loopback.",
    ),
    (
        "status",
        "site_agent.network_commands:status",
        "Show the studies that name this site, what waits for its steward, and which results are released.",
    ),
    (
        "results",
        "site_agent.network_commands:results",
        "Fetch the released results of STUDY; the coordinator's signature is checked, and they are kept.",
    ),
    (
        "renew",
        "site_agent.network_commands:renew",
        "Renew this site's certificate, within 90 days of its end; serve does so by itself 60 days before.",
    ),
)

for _command in _LOADED_WHEN_CALLED:
    main.defer(*_command)
