"""How well the mapper transfers to lots it has not seen, beside the methods that the field uses.

    python -m benchmarks.mapping_accuracy [--data ../shared/data] [--data-sets heart,blood] [--symphonypy]

Folds: ``mapping_folds.py``. Every method (``mapping_methods.py``) sees the same reference cells and maps the same lots.

accuracy       share of a fold's cells that get the owner's label (before any is left unassigned)
TV             total variation of a lot's shares: half the summed absolute errors, mean over the fold's lots
as reported    crosslot's labels with unassigned cells as no cluster's: what the product's shares are made of
missing genes  each of the atlas's genes is taken from the lot's file with the probability given, in 5 draws
coverage       share of (lot, cluster) pairs whose true share lies in the atlas's 90% interval, and the mean of the
               intervals' half widths as reported (they end at 0 and 1)
"""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.mapping_folds import (
    SEED,
    Fold,
    Names,
    build,
    fold_named,
    folds_of,
    in_processes,
    is_novel,
    map_with,
    options,
    require_data,
)
from benchmarks.mapping_methods import ingest, logistic, symphony
from benchmarks.symphony import symphony_python
from shared.atlas.artefact import Atlas, to_bytes
from shared.atlas.kernel import MappedBlock
from shared.atlas.model import FitParameters
from shared.atlas.proportions import composition

MISSING_SHARES = (0.05, 0.1, 0.2, 0.4)
DRAWS = 5
MANY_COMPONENTS = 50
UNASSIGNED = "(unassigned)"


@dataclass(frozen=True)
class Score:
    """Accuracy and total variation, on one fold."""

    accuracy: float
    variation: float


@dataclass(frozen=True)
class Coverage:
    """How many true shares lay in their intervals, of how many, and the sum of the half widths."""

    inside: int
    total: int
    widths: float

    def __add__(self, other: "Coverage") -> "Coverage":
        return Coverage(self.inside + other.inside, self.total + other.total, self.widths + other.widths)


@dataclass(frozen=True, kw_only=True)
class FoldResult:
    """What was found on one fold."""

    fold: str
    is_shifted: bool
    scores: dict[str, tuple[Score, ...]]  # by method: one, or one of each draw
    seconds: dict[str, float]
    coverage: Coverage
    coverage_of_samples: Coverage
    unassigned: float
    novel: float
    right_of_novel: float
    atlas_bytes: int


def score(true: Names, lots: Names, predicted: Names) -> Score:
    """Return accuracy and the mean over lots of the total variation of shares."""
    names = np.union1d(true, predicted)
    variations = []
    for lot in np.unique(lots):
        here = lots == lot
        p, q = (np.array([(part[here] == name).mean() for name in names]) for part in (true, predicted))
        variations.append(0.5 * np.abs(p - q).sum())
    return Score(float((true == predicted).mean()), float(np.mean(variations)))


def coverage(fold: Fold, atlas: Atlas, mapped: MappedBlock, *, with_sampling: bool) -> Coverage:
    """Return how many true shares lie in their 90% interval."""
    true, lots = fold.labels[fold.query], fold.lots[fold.query]
    sum_of_lots = Coverage(0, 0, 0.0)
    for lot in np.unique(lots):
        here = lots == lot
        labels = mapped.label[here]
        counts = np.bincount(labels[labels >= 0], minlength=len(atlas.clusters)).astype(np.int64)
        found = composition(atlas, counts, int((labels < 0).sum()), with_sampling=with_sampling)
        share = np.array([(true[here] == name).mean() for name in atlas.clusters])
        known = np.isfinite(found.low)
        inside = (found.low <= share) & (share <= found.high) & known
        widths = float((found.high - found.low)[known].sum()) / 2
        sum_of_lots += Coverage(int(inside.sum()), int(known.sum()), widths)
    return sum_of_lots


def with_many_components(fold: Fold) -> Names:
    """Return labels by our method with 50 components, which would give more of the reference away."""
    atlas = build(fold, FitParameters(n_dimensions=MANY_COMPONENTS))
    labels: Names = np.array(atlas.clusters)[map_with(atlas, fold).best]
    return labels


def measure(name: str, *, data: Path, python: Path | None) -> FoldResult:
    """Return all that is measured on one fold."""
    fold = fold_named(name, data)
    true, lots = fold.labels[fold.query], fold.lots[fold.query]
    begin = time.perf_counter()
    atlas = build(fold)
    mapped = map_with(atlas, fold)
    clusters = np.array(atlas.clusters)
    best: Names = clusters[mapped.best]
    scores: dict[str, tuple[Score, ...]] = {"**crosslot**": (score(true, lots, best),)}
    seconds = {"**crosslot**": time.perf_counter() - begin}
    novel = is_novel(atlas, mapped)
    for what, unassigned in (("as reported", mapped.label < 0), ("all novel cells unassigned", novel)):
        scores[f"the same, {what}"] = (score(true, lots, np.where(unassigned, UNASSIGNED, best)),)
    others: dict[str, Callable[[Fold], Names]] = {
        f"the same, {MANY_COMPONENTS} components": with_many_components,
        "logistic regression, as CellTypist": logistic,
        "scanpy ingest's method, its centring mended": ingest,
    }
    if python is not None:
        others["symphonypy 0.2.4"] = partial(symphony, python=python)
    for method, run in others.items():
        begin = time.perf_counter()
        scores[method] = (score(true, lots, run(fold)),)
        seconds[method] = time.perf_counter() - begin
    known = np.isin(fold.cells.var_names.astype(str), atlas.gene_symbols)
    rng = np.random.default_rng(SEED)
    for share in MISSING_SHARES:
        draws = (np.flatnonzero(~(known & (rng.random(len(known)) < share))) for _ in range(DRAWS))
        scores[f"{share:.0%}"] = tuple(
            score(true, lots, clusters[map_with(atlas, fold, genes).best]) for genes in draws
        )
    return FoldResult(
        fold=name,
        is_shifted=fold.is_shifted,
        scores=scores,
        seconds=seconds,
        coverage=coverage(fold, atlas, mapped, with_sampling=False),
        coverage_of_samples=coverage(fold, atlas, mapped, with_sampling=True),
        unassigned=float((mapped.label < 0).mean()),
        novel=float(novel.mean()),
        right_of_novel=float((best == true)[novel].mean()) if novel.any() else float("nan"),
        atlas_bytes=len(to_bytes(atlas)),
    )


def table(results: Sequence[FoldResult], methods: Sequence[str], corner: str) -> list[str]:
    """Return a table of accuracy / total variation: for each data set the mean over folds and the worst of each."""
    data_sets = list(dict.fromkeys(result.fold.split()[0] for result in results))
    columns = [f"{data_set}, {which}" for data_set in data_sets for which in ("mean", "worst")]
    lines = [f"| {corner} | {' | '.join(columns)} |", f"|{'---|' * (1 + len(columns))}"]
    for method in methods:
        cells = []
        for data_set in data_sets:
            found = [each for result in results if result.fold.startswith(data_set) for each in result.scores[method]]
            accuracies, variations = [each.accuracy for each in found], [each.variation for each in found]
            cells.append(f"{np.mean(accuracies):.3f} / {np.mean(variations):.3f}")
            cells.append(f"{min(accuracies):.3f} / {max(variations):.3f}")
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


def fold_lines(result: FoldResult) -> list[str]:
    """Return what each method did on one fold."""
    lines = []
    for method, scores in result.scores.items():
        if len(scores) == 1:  # the draws of missing genes are told in the summary
            seconds = f"{result.seconds[method]:8.1f}" if method in result.seconds else ""
            only = scores[0]
            lines.append(
                f"{result.fold:17s} {method:45s} {only.accuracy:8.4f} {only.variation:8.4f} {seconds}".rstrip()
            )
    return lines


def summary(results: Sequence[FoldResult]) -> list[str]:
    """Return the tables and sentences over all folds."""
    drawn = [f"{share:.0%}" for share in MISSING_SHARES]
    lines = ["", "accuracy / TV", *table(results, [name for name in results[0].scores if name not in drawn], "")]
    lines += ["", f"accuracy / TV with genes missing, {DRAWS} draws", *table(results, drawn, "missing"), ""]
    data_sets = dict.fromkeys(result.fold.split()[0] for result in results)
    for data_set in data_sets:
        for shifted, folds in ((False, "one lot left out"), (True, "->")):
            group = [each for each in results if each.fold.startswith(data_set) and each.is_shifted is shifted]
            if group:
                own, sampled = group[0].coverage, group[0].coverage_of_samples
                for result in group[1:]:
                    own, sampled = own + result.coverage, sampled + result.coverage_of_samples
                lines.append(
                    f"90% intervals, {data_set}, {folds}: {_covered(own)}; for sampling too {_covered(sampled)}"
                )
    lines.append("")
    lines += [
        f"{result.fold:17s} novel {result.novel:.3f}, of those with their right label {result.right_of_novel:.2f}; "
        f"unassigned {result.unassigned:.4f}"
        for result in results
    ]
    sizes = [result.atlas_bytes for result in results]
    return [*lines, f"bytes of an atlas: {min(sizes):,} to {max(sizes):,}"]


def _covered(found: Coverage) -> str:
    if found.total == 0:
        return "none calibrated"
    share, width = found.inside / found.total, found.widths / found.total
    return f"cover {found.inside} of {found.total} ({share:.2f}), mean half width {width:.3f}"


def main() -> None:
    """Run and print everything."""
    parser = options(__doc__)
    parser.add_argument("--symphonypy", action="store_true", help="install symphonypy into .venv-bench, and run it too")
    arguments = parser.parse_args()
    wanted = require_data(arguments)
    python = symphony_python() if arguments.symphonypy else None
    if arguments.symphonypy and python is None:
        sys.exit("symphonypy could not be installed into .venv-bench: leave out --symphonypy to do without")
    names = [fold.name for data_set in wanted for fold in folds_of(data_set, arguments.data)]
    print(f"{'fold':17s} {'method':45s} {'accuracy':>8s} {'TV':>8s} {'seconds':>8s}", flush=True)
    results = []
    work = partial(measure, data=arguments.data, python=python)
    for result in in_processes(work, names, "folds", arguments.processes):
        results.append(result)
        print(*fold_lines(result), sep="\n", flush=True)
    print(*summary(results), sep="\n")


if __name__ == "__main__":
    main()
