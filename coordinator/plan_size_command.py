"""``crosslot-coordinator plan-size``: lots for a power, or the power of a design, as a table and a plot."""

from dataclasses import asdict
from pathlib import Path

import click

from coordinator.plan_size import SIZE_COLUMNS, SizeQuestion, size_cells, size_rows
from coordinator.plan_size_plot import power_plot
from shared.errors import InputError
from shared.runtime.console import json_option, print_json, print_table, progress, remark
from shared.runtime.files import write_atomically

_DIRECTIONS = {"two-sided": "two-sided", "one-sided": "greater"}


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"{option}: expected numbers between commas, found {text!r}", hint=f"for example {option} .6,.7,.8"
        ) from error


def _integers(text: str, option: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(
            f"{option}: expected whole numbers between commas, found {text!r}", hint=f"for example {option} 6,12"
        ) from error


@click.command("plan-size")
@click.option("--rho", default="0.6,0.7,0.8,0.9", show_default=True, help="True correlations of share and potency.")
@click.option("--clusters", default="6,12,30", show_default=True, help="How many clusters are tested.")
@click.option("--sites", default="1", show_default=True, help="How many sites (strata).")
@click.option("--cells", help="Cells a lot; without: shares taken as known.")
@click.option("--lots", help="The power of designs with so many lots, instead of the lots that --power needs.")
@click.option("--power", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.8, show_default=True)
@click.option("--alpha", type=click.FloatRange(0, 0.5, min_open=True, max_open=True), default=0.05, show_default=True)
@click.option("--direction", type=click.Choice(sorted(_DIRECTIONS)), default="two-sided", show_default=True)
@click.option(
    "--simulate", "runs", type=click.IntRange(0), default=0, help="Simulated studies for each row; 0: formula."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--plot", type=click.Path(path_type=Path), help="Write the power curves here (SVG).")
@json_option
def plan_size(
    rho: str,
    clusters: str,
    sites: str,
    cells: str | None,
    lots: str | None,
    power: float,
    alpha: float,
    direction: str,
    runs: int,
    seed: int,
    plot: Path | None,
    as_json: bool,  # noqa: FBT001 - click hands flags over by name
) -> None:
    """Say how many lots a study needs, or what power a given design has.

    Every combination of the values is a row. N_eff is how many independent cells the cells of a lot count as; fewer
    cells blur the shares, and "observable" is what they leave of rho.
    """
    tail = _DIRECTIONS[direction]
    question = SizeQuestion(
        rho=_numbers(rho, "--rho"),
        clusters=_integers(clusters, "--clusters"),
        sites=_integers(sites, "--sites"),
        cells=(None,) if cells is None else _integers(cells, "--cells"),
        lots=() if lots is None else _integers(lots, "--lots"),
        power=power,
        alpha=alpha,
        tail="greater" if tail == "greater" else "two-sided",
        runs=runs,
        seed=seed,
    )
    total = len(question.rho) * len(question.clusters) * len(question.sites) * len(question.cells)
    with progress("sizing", total * max(1, len(question.lots)), unit="designs") as advance:
        rows = size_rows(question, progress=lambda _done, _total: advance())
    if plot is not None:
        seen = tuple(dict.fromkeys(round(row.rho_observable, 4) for row in rows))
        most = max(60, *(row.lots for row in rows))
        curves = power_plot(
            seen,
            clusters=question.clusters[0],
            sites=question.sites[0],
            power=power,
            most_lots=most,
            alpha=alpha,
            tail=question.tail,
        )
        write_atomically(plot, curves.encode())
        remark(f"wrote {plot}: {question.clusters[0]} clusters, {question.sites[0]} sites")
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        print_table(f"Study size, alpha {alpha:g}, {direction}", SIZE_COLUMNS, [size_cells(row) for row in rows])
