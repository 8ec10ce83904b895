"""``crosslot-simulate``: studies of several sites in one process, with real agents and real signed messages."""

import os
from dataclasses import asdict
from pathlib import Path

import click

from shared.runtime.console import CommandGroup, json_option, print_json, print_table, progress, remark

# What each command works with (scanpy, Flower) is imported within it: --help and wrong arguments answer at once.

_PATH = click.Path(path_type=Path)


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="crosslot")
def main() -> None:
    """Try a study before it is real: split one file into sites, run it, and compare with the pooled analysis."""


@main.command("split")
@click.argument("cells", metavar="INPUT.h5ad", type=_PATH)
@click.option("--lot", "lot_column", metavar="COL", required=True, help="The obs column that names each cell's lot.")
@click.option("--where", metavar="COL=VALUE", multiple=True, help="Only cells with this value; may be given again.")
@click.option("--labels", "labels_column", metavar="COL", help="Build the atlas by these labels; without: by Leiden.")
@click.option("--donor", "donor_column", metavar="COL", help="The obs column of donors; without: one donor a lot.")
@click.option("--tissue", "tissue_column", metavar="COL", help="The obs column of tissues.")
@click.option(
    "--potency", metavar="FILE.csv:KEYCOL:VALUECOL", required=True, help="Each lot's potency; replicates: several rows."
)
@click.option("--unit", required=True, help="The unit of the potency values.")
@click.option("--assay", required=True, help="The name of the assay.")
@click.option("--decimals", type=click.IntRange(0, 9), default=4, show_default=True, help="The assay's precision.")
@click.option("--reference-lots", metavar="A,B,...|all", required=True, help="The lots that the atlas is built from.")
@click.option("--profile", type=click.Choice(["open", "standard", "strict"]), default="open", show_default=True)
@click.option("--minimum-cells", type=click.IntRange(1), help="Lower the sites' own minimum of cells a lot, openly.")
@click.option("--noise", type=click.FloatRange(0.001, 10), help="Epsilon of the noise that the sites put on counts.")
@click.option("--control", metavar="COL=VALUE", help="The cells are morphology: which are of control wells.")
@click.option("--layer", help="The layer that holds the counts, or raw; without: X.")
@click.option("--sites", type=click.IntRange(1, 1_000), required=True, help="How many sites the lots are dealt to.")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the atlas, permutations and keys."
)
@click.option("--out", metavar="DIR", type=_PATH, required=True, help="The study folder to make.")
@json_option
def split(
    cells: Path,
    lot_column: str,
    where: tuple[str, ...],
    labels_column: str | None,
    donor_column: str | None,
    tissue_column: str | None,
    potency: str,
    unit: str,
    assay: str,
    decimals: int,
    reference_lots: str,
    profile: str,
    minimum_cells: int | None,
    noise: float | None,
    control: str | None,
    layer: str | None,
    sites: int,
    seed: int,
    out: Path,
    as_json: bool,
) -> None:
    """Make a study of several sites out of one h5ad: a plan draft, an atlas, and a folder for each site.

    The profile `open` (exact counts) is for data that you already hold; `standard` and `strict` show what a real
    site would hide.
    """
    from protocol.plan import Profile  # noqa: PLC0415 - as above
    from simulations.split_request import (  # noqa: PLC0415 - as above
        SplitRequest,
        parse_condition,
        parse_label,
        parse_potency,
        parse_reference_lots,
    )

    request = SplitRequest(
        cells=cells,
        lot_column=lot_column,
        where=tuple(parse_condition(text) for text in where),
        labels_column=labels_column,
        donor_column=donor_column,
        tissue_column=tissue_column,
        potency=parse_potency(potency),
        unit=parse_label("--unit", unit),
        assay=parse_label("--assay", assay),
        decimals=decimals,
        reference_lots=parse_reference_lots(reference_lots),
        sites=sites,
        out=out,
        seed=seed,
        profile=Profile(profile),
        minimum_cells=minimum_cells,
        noise_epsilon=noise,
        control=None if control is None else parse_condition(control),
        layer=layer,
    )
    from simulations.study_folder import split_study  # noqa: PLC0415 - imports scanpy

    summary = split_study(request)
    if as_json:
        print_json(
            {
                "success": True,
                "out": str(summary.out),
                "sites": {site: list(lots) for site, lots in summary.lots_by_site.items()},
                "clusters": list(summary.clusters),
                "reference_lots": list(summary.reference_lots),
                "lots_without_potency": list(summary.lots_without_potency),
            }
        )
        return
    print_table(
        f"Study in {summary.out}",
        ("site", "lots"),
        [(site, ", ".join(lots)) for site, lots in summary.lots_by_site.items()],
    )
    remark(f"atlas: {len(summary.clusters)} clusters from lots {', '.join(summary.reference_lots)}")
    if summary.lots_without_potency:
        remark(f"left out, without potency: {', '.join(summary.lots_without_potency)}")
    remark(f"next: crosslot-simulate run {summary.out} --out OUT")


@main.command("run")
@click.argument("study", metavar="DIR", type=_PATH)
@click.option("--out", metavar="OUT", type=_PATH, required=True, help="Where results, report and sent bytes go.")
@click.option("--threads", type=click.IntRange(1), help="Worker threads of the mapper; without: one for each core.")
@click.option(
    "--engine",
    type=click.Choice(["in-process", "flower"]),
    default="in-process",
    show_default=True,
    help="What carries the messages. `flower` is Flower's simulation engine on Ray (extra `ray`): for many cores; "
    "results are the same to the byte. Ray LISTENS ON EVERY ADDRESS of the machine, so it is started in a network "
    "with loopback only: unshare -rn sh -c 'ip link set lo up && crosslot-simulate run ...'.",
)
@click.option("--allow-open-sockets", is_flag=True, help="Start Ray though other machines may reach its sockets.")
@json_option
def run(study: Path, out: Path, threads: int | None, engine: str, allow_open_sockets: bool, as_json: bool) -> None:
    """Run the study in DIR: one agent a site, each seeing its own folder only; then compare with pooled cells."""
    from simulations.experiment import in_process, run_study  # noqa: PLC0415 - imports Flower and the mapper
    from simulations.shown import show_run  # noqa: PLC0415 - the same

    chosen = in_process
    if engine == "flower":
        from simulations.flower_engine import on_ray, require_ray  # noqa: PLC0415 - imports Flower's simulation
        from simulations.private_network import interfaces_up, require_private_network  # noqa: PLC0415 - the same

        require_ray()
        if not allow_open_sockets:
            require_private_network(interfaces_up(), "Ray")
        chosen = on_ray
    show_run(run_study(study, out, threads=threads, engine=chosen), out, as_json=as_json)


@main.command("demo")
@click.option("--scenario", default="model-study", show_default=True, help="`power --scenario list` names them all.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of everything that is drawn.")
@click.option("--out", metavar="OUT", type=_PATH, default=Path("out/demo"), show_default=True, help="Made afresh.")
@json_option
def demo(scenario: str, seed: int, out: Path, as_json: bool) -> None:
    """Simulate a study, cells and all, and run it; the model study: 11 bone-marrow lots at 4 sites, then validation."""
    from simulations.demo import run_demo  # noqa: PLC0415 - imports the mapper
    from simulations.shown import show_run  # noqa: PLC0415 - the same

    show_run(run_demo(out, seed=seed, scenario_name=scenario), out, as_json=as_json)


@main.command("power")
@click.option("--scenario", required=True, help="A scenario's name, or `list` to see them all.")
@click.option("--replicates", type=click.IntRange(1), default=200, show_default=True, help="Simulated studies.")
@click.option("--draws", type=click.IntRange(99), default=1_999, show_default=True, help="Permutations of one study.")
@click.option("--workers", type=click.IntRange(1), help="Processes; without: one for each core. It never shows.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@json_option
def power(scenario: str, replicates: int, draws: int, workers: int | None, seed: int, as_json: bool) -> None:
    """Simulate many studies of a scenario, counts only, and say how often the analysis is right."""
    from simulations.power import run_scenario, summary_rows  # noqa: PLC0415 - imports scipy and statsmodels
    from simulations.scenarios import SCENARIOS, scenario_named  # noqa: PLC0415 - the same

    if scenario == "list":
        names = [(each.name, each.expectation) for each in SCENARIOS.values()]
        if as_json:
            print_json([{"scenario": name, "expectation": expectation} for name, expectation in names])
        else:
            for name, expectation in names:
                click.echo(f"{name}\n    {expectation}")
        return
    chosen = scenario_named(scenario)
    with progress(f"simulating {scenario}", replicates, unit="studies") as advance:
        report = run_scenario(
            chosen,
            replicates=replicates,
            seed=seed,
            workers=workers or os.cpu_count() or 1,
            draws=draws,
            progress=advance,
        )
    if as_json:
        print_json(asdict(report))
    else:
        print_table(f"{scenario}: {replicates} studies, seed {seed}", ("what", "how often"), summary_rows(report))
