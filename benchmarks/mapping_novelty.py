"""How well cells of an unknown class are found, one by one and as a lot's excess of novel cells.

    python -m benchmarks.mapping_novelty [--data ../shared/data] [--data-sets heart,blood]

On each fold (``mapping_folds.py``) every class of at least 10 cells to map is left out of the reference in turn. Atlas,
thresholds and mapping are the product's. *New* cells are of that class, *known* cells of the atlas's clusters.

AUROC         chance that a new cell's energy exceeds a known cell's; mean over classes of a class's mean over folds
found         share of new cells above the atlas's novelty threshold (99% of left-out cells lie below)
alarms        share of known cells above it
found at 5%   share of new cells above the energy that 5% of the lot's known cells exceed: no threshold could know it
lot's p       the test of the lot's novel cells against those of the reference lots left out; with nothing left out of
              the reference, or with the known cells alone, p < .05 is a false alarm
simulated     share of p < .05 in lots of one population: log odds are normal with the fold's own mean and spread, cells
              binomial, sizes as the fold's lots; 5% is right
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.mapping_folds import (
    SEED,
    Fold,
    Mask,
    build,
    fold_named,
    folds_of,
    in_processes,
    is_novel,
    map_with,
    options,
    require_data,
)
from shared.atlas.artefact import Atlas
from shared.atlas.proportions import excess_novel, log_odds

SMALLEST_NEW_CLASS = 10
LEVEL = 0.05
SIMULATED = 400
AIM = 0.81
SHARES_OF_THE_LOT = ((0.0, 0.05), (0.05, 0.2), (0.2, 1.0))


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What became of one class left out on one fold."""

    fold: str
    left_out: str
    area: float
    found: float
    unassigned: float
    alarms: float
    found_at_level: float
    shares: tuple[float, ...]  # of each lot, the new cells
    p_values: tuple[float, ...]  # of each lot
    p_values_of_known: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Quiet:
    """What the test of lots says where no class is left out."""

    fold: str
    is_shifted: bool
    p_values: tuple[float, ...]
    simulated_alarms: int


def p_values(atlas: Atlas, novel: Mask, lots: NDArray[np.str_], counted: Mask) -> tuple[float, ...]:
    """Return the p-value of each lot from its counted cells; NaN where the atlas has none to give."""
    found = []
    for lot in np.unique(lots):
        here = (lots == lot) & counted
        p = excess_novel(atlas, int(novel[here].sum()), int(here.sum())).p_value
        found.append(float("nan") if p is None else p)
    return tuple(found)


def simulated_alarms(atlas: Atlas, sizes: NDArray[np.int64], repeats: int, rng: np.random.Generator) -> int:
    """Return how many of so many lots of one population have p < .05.

    Parameters
    ----------
    sizes : (n_lots + 1,)
        Cells of the reference lots and of the lot to be judged, which is the last.
    """
    transfer = atlas.card.transfer
    if transfer.novel_log_odds is None or transfer.novel_log_odds_spread is None:
        return 0
    odds = rng.normal(transfer.novel_log_odds, transfer.novel_log_odds_spread, (repeats, len(sizes)))
    novel = rng.binomial(sizes, 1 / (1 + np.exp(-odds)))
    seen = log_odds(novel[:, :-1].astype(np.float64), sizes[:-1].astype(np.float64))
    alarms = 0
    for row in range(repeats):
        drawn = {"novel_log_odds": float(seen[row].mean()), "novel_log_odds_spread": float(seen[row].std(ddof=1))}
        judging = replace(atlas, card=atlas.card.replaced(transfer=transfer.replaced(**drawn)))
        p = excess_novel(judging, int(novel[row, -1]), int(sizes[-1])).p_value
        alarms += p is not None and p < LEVEL
    return alarms


def quiet(fold: Fold) -> Quiet:
    """Return what the lot's test says with the whole reference."""
    atlas, lots = build(fold), fold.lots[fold.query]
    novel = is_novel(atlas, map_with(atlas, fold))
    sizes = np.append(np.unique(fold.lots[fold.reference], return_counts=True)[1], (lots == lots[0]).sum())
    return Quiet(
        fold=fold.name,
        is_shifted=fold.is_shifted,
        p_values=p_values(atlas, novel, lots, np.ones(len(lots), dtype=np.bool_)),
        simulated_alarms=simulated_alarms(atlas, sizes, SIMULATED, np.random.default_rng(SEED)),
    )


def leave_out(fold: Fold, label: str) -> Finding:
    """Return what became of the class's cells with an atlas that does not know it."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - a second to load

    atlas, lots = build(fold.without(label)), fold.lots[fold.query]
    mapped = map_with(atlas, fold)
    new, known = fold.labels[fold.query] == label, np.isin(fold.labels[fold.query], atlas.clusters)
    novel, counted = is_novel(atlas, mapped), new | known
    return Finding(
        fold=fold.name,
        left_out=label,
        area=float(roc_auc_score(new[counted], mapped.energy[counted])),
        found=float(novel[new].mean()),
        unassigned=float((mapped.label[new] < 0).mean()),
        alarms=float(novel[known].mean()),
        found_at_level=float((mapped.energy[new] > np.quantile(mapped.energy[known], 1 - LEVEL)).mean()),
        shares=tuple(float(new[lots == lot].mean()) for lot in np.unique(lots)),
        p_values=p_values(atlas, novel, lots, counted),
        p_values_of_known=p_values(atlas, novel, lots, known),
    )


def measure(task: tuple[str, str | None], *, data: Path) -> Finding | Quiet:
    """Return what is measured on a fold with a class left out, or with none."""
    name, label = task
    fold = fold_named(name, data)
    return quiet(fold) if label is None else leave_out(fold, label)


def tasks_of(fold: Fold) -> list[tuple[str, str | None]]:
    """Return the fold with nothing left out, and with each class that is large enough to be told of."""
    names, cells = np.unique(fold.labels[fold.query], return_counts=True)
    large = names[(cells >= SMALLEST_NEW_CLASS) & (cells < cells.sum())]
    return [(fold.name, None), *((fold.name, str(name)) for name in large)]


def mean_area(findings: Iterable[Finding]) -> dict[str, float]:
    """Return of each class, named with its data set, the mean AUROC over folds, smallest first."""
    areas: dict[str, list[float]] = {}
    for finding in findings:
        areas.setdefault(f"{finding.fold.split()[0]} {finding.left_out}", []).append(finding.area)
    means = {name: float(np.mean(found)) for name, found in areas.items()}
    return dict(sorted(means.items(), key=lambda item: item[1]))


def fold_line(findings: Sequence[Finding], nothing: Quiet) -> str:
    """Return the row of one fold."""
    worst = min(findings, key=lambda finding: finding.area)
    means = [np.mean([getattr(each, name) for each in findings]) for name in ("found", "alarms", "found_at_level")]
    p = nothing.p_values
    smallest = f"{np.min(p):.3f}" + (f" (smallest of {len(p)})" if len(p) > 1 else "")
    excess = [p for finding in findings for p in finding.p_values]
    cells = (
        nothing.fold,
        str(len(findings)),
        f"{np.mean([each.area for each in findings]):.2f}",
        f"{worst.area:.2f} {worst.left_out}",
        *(f"{mean:.3f}" for mean in means),
        f"{sum(p < LEVEL for p in excess)} of {len(excess)}",
        smallest,
    )
    return f"| {' | '.join(cells)} |"


COLUMNS = (
    "fold",
    "classes",
    "AUROC",
    "worst",
    "found",
    "alarms",
    "found at 5%",
    "lots with p < .05",
    "p, none left out",
)


def summary(findings: Sequence[Finding], quiets: Sequence[Quiet]) -> list[str]:
    """Return the tables and sentences."""
    lines = ["", f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    shifted = {nothing.fold: nothing.is_shifted for nothing in quiets}
    for nothing in quiets:
        own = [finding for finding in findings if finding.fold == nothing.fold]
        lines += [fold_line(own, nothing)] if own else []
    for kind, what in ((False, "one lot left out"), (True, "->")):
        group = [finding for finding in findings if shifted[finding.fold] is kind]
        calm = [nothing for nothing in quiets if nothing.is_shifted is kind]
        if group:
            lines += ["", f"folds with {what}", *_of_cells(group), *_of_lots(group, calm)]
    return [*lines, "", "all folds", *_of_cells(findings)]


def _of_cells(findings: Sequence[Finding]) -> list[str]:
    means = mean_area(findings)
    total = float(np.mean(list(means.values())))
    parts = {
        name.split()[0]: [area for other, area in means.items() if other.startswith(name.split()[0])] for name in means
    }
    by_set = ", ".join(f"{name} {np.mean(areas):.3f} ({len(areas)})" for name, areas in sorted(parts.items()))
    rates = ", ".join(
        f"{what} {np.mean([getattr(each, name) for each in findings]):.3f}"
        for what, name in (
            ("found", "found"),
            ("unassigned", "unassigned"),
            ("alarms", "alarms"),
            ("found at 5%", "found_at_level"),
        )
    )
    return [
        f"mean AUROC over {len(means)} classes: {total:.3f}; {by_set}",
        f"aim: at least {AIM}: {'met' if total >= AIM else 'NOT MET'}",
        f"mean AUROC over {len(findings)} pairs of fold and class: {np.mean([each.area for each in findings]):.3f}",
        "; ".join(f"{name} {area:.2f}" for name, area in means.items()),
        f"mean over pairs: {rates}",
    ]


def _of_lots(findings: Sequence[Finding], quiets: Sequence[Quiet]) -> list[str]:
    lines = [
        f"lots with p < .05, nothing left out: {_below([p for each in quiets for p in each.p_values])}",
        f"lots with p < .05, known cells alone: {_below([p for each in findings for p in each.p_values_of_known])}",
    ]
    cases = [pair for each in findings for pair in zip(each.shares, each.p_values, strict=True)]
    for low, high in SHARES_OF_THE_LOT:
        within = [p for share, p in cases if low < share <= high]
        lines.append(f"lots with p < .05, a class of {low:.0%} to {high:.0%} of the lot left out: {_below(within)}")
    alarms, repeats = sum(each.simulated_alarms for each in quiets), SIMULATED * len(quiets)
    return [*lines, f"simulated lots of one population with p < .05: {alarms / repeats:.3f} of {repeats}"]


def _below(p: Sequence[float]) -> str:
    known = [each for each in p if not np.isnan(each)]
    smallest = f", smallest {min(known):.4f}" if known else ""
    return f"{sum(each < LEVEL for each in known)} of {len(known)}{smallest}"


def main() -> None:
    """Run and print everything."""
    arguments = options(__doc__).parse_args()
    wanted = require_data(arguments)
    tasks = [task for data_set in wanted for fold in folds_of(data_set, arguments.data) for task in tasks_of(fold)]
    work = partial(measure, data=arguments.data)
    found = list(in_processes(work, tasks, "atlases", arguments.processes))
    findings = [each_found for each_found in found if isinstance(each_found, Finding)]
    quiets = [each_found for each_found in found if isinstance(each_found, Quiet)]
    print(*summary(findings, quiets), sep="\n")


if __name__ == "__main__":
    main()
