"""Labelled cells of several lots to an atlas: fit, leave lots out, describe.

Rules.
1. A cluster with fewer than ``FitParameters.minimum_cells`` cells is dropped and named with its reason: its mean would
   come close to showing a cell, and nothing could be said of how well it transfers. Its cells are left out.
2. Lots are numbered in the order of their sorted names; the names themselves stay behind.
3. What could not be measured (one lot, two lots, a cluster in one lot only) is said in the card, never guessed.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas, check
from shared.atlas.calibration import Calibration, calibrate, leave_lots_out
from shared.atlas.card import Card, Control, DroppedCluster, Marker, NoveltySettings, Parameter, Provenance, Transfer
from shared.atlas.features import Counts
from shared.atlas.genes import ensembl_id
from shared.atlas.model import FitParameters, Model, dimensions_for, fit_model
from shared.atlas.novelty import TEMPERATURE
from shared.atlas.proportions import log_odds, shift
from shared.errors import DesignError, InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_METHOD_OF_MORPHOLOGY = (
    "principal components of robust scores against control wells, unit length, lot-aware whitening, logistic regression"
)
_METHOD = "principal components of scaled log counts, unit length, lot-aware whitening, logistic regression"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the builder knows and the numbers do not show."""

    name: str
    labels: Literal["owner", "leiden"] = "owner"
    tissue: str | None = None
    species: str | None = None
    notes: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    control: Control | None = None  # of morphology: the cells of control wells


def fit_atlas(
    counts: Counts,
    labels: Sequence[str],
    lots: Sequence[str],
    *,
    gene_ids: Sequence[str] | None,
    gene_symbols: Sequence[str] | None,
    origin: Origin,
    seed: int,
    parameters: FitParameters | None = None,
    markers: Callable[[Counts, IntArray, tuple[str, ...]], Sequence[Sequence[Marker]]] | None = None,
    stability: Sequence[float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Atlas:
    """Return the atlas of a labelled reference.

    Parameters
    ----------
    counts : CSR (n_cells, n_genes), or ndarray (n_cells, n_features)
        Counts of every gene of the files, or robust scores of morphology (``origin.control`` is then given).
    labels, lots : (n_cells,) str
    gene_ids, gene_symbols : (n_genes,) str, optional
        At least one of the two; a column of names may hold either.
    markers : callable, optional
        Given the kept cells' counts, their labels and the names of the clusters, returns each cluster's markers.
    stability : (n_clusters,) in 0..1, optional
        In the order of the sorted names of the labels.
    progress : callable, optional
        Called with the number of lots left out so far and of all.

    Raises
    ------
    InputError
        Lengths do not agree, or a name is empty.
    DesignError
        Fewer than two clusters have enough cells.
    """
    chosen = parameters or FitParameters()
    _check_lengths(counts, labels, lots, gene_ids, gene_symbols)
    all_names, all_labels = np.unique(np.asarray(labels, dtype=str), return_inverse=True)
    sizes = np.bincount(all_labels)
    kept = np.flatnonzero(sizes >= chosen.minimum_cells)
    if len(kept) < 2:  # noqa: PLR2004 - a composition has two parts
        raise DesignError(
            "too-few-clusters",
            f"atlas: expected at least 2 clusters of {chosen.minimum_cells} cells or more, found {len(kept)}",
            hint="give more reference lots, or coarser labels",
        )
    inside = np.isin(all_labels, kept)
    counts = counts[inside]
    clusters = tuple(str(all_names[place]) for place in kept)
    codes = np.searchsorted(kept, all_labels[inside]).astype(np.int64)
    lot_names, lot_codes = np.unique(np.asarray(lots, dtype=str)[inside], return_inverse=True)
    lot_codes = lot_codes.astype(np.int64)
    model = fit_model(counts, codes, lot_codes, chosen, n_clusters=len(clusters), seed=seed)
    left_out = leave_lots_out(
        counts,
        codes,
        lot_codes,
        chosen,
        n_clusters=len(clusters),
        novelty=model.novelty,
        seed=seed,
        progress=progress,
    )
    calibration = calibrate(left_out, n_clusters=len(clusters), parameters=chosen)
    cells = np.zeros((len(clusters), len(lot_names)), dtype=np.int32)
    np.add.at(cells, (codes, lot_codes), 1)
    ids, symbols = _named_genes(gene_ids, gene_symbols, model.projection.genes)
    card = Card(
        name=origin.name,
        modality="counts" if origin.control is None else "morphology",
        control=origin.control,
        clusters=clusters,
        gene_ids=ids,
        gene_symbols=symbols,
        target_sum=chosen.target_sum,
        temperature=calibration.temperature,
        novelty=NoveltySettings(
            temperature=TEMPERATURE,
            energy_weight=model.novelty.energy_weight,
            distance_weight=model.novelty.distance_weight,
            quantile=chosen.novelty_quantile,
            confidence=chosen.novelty_confidence,
        ),
        transfer=_transfer(calibration, len(lot_names)),
        markers=tuple(tuple(found) for found in markers(counts, codes, clusters)) if markers else ((),) * len(clusters),
        stability=None if stability is None else tuple(float(stability[int(place)]) for place in kept),
        dropped=tuple(
            DroppedCluster(
                cluster=str(all_names[place]),
                cells=int(sizes[place]),
                reason=f"fewer than {chosen.minimum_cells} cells in the reference",
            )
            for place in np.flatnonzero(sizes < chosen.minimum_cells)
        ),
        provenance=_provenance(origin, chosen, seed, counts, len(lot_names), clusters, cells),
    )
    return _assembled(card, model, calibration, counts, codes, lot_codes, cells)


def _check_lengths(
    counts: Counts,
    labels: Sequence[str],
    lots: Sequence[str],
    gene_ids: Sequence[str] | None,
    gene_symbols: Sequence[str] | None,
) -> None:
    n_cells, n_genes = counts.shape
    if len(labels) != n_cells or len(lots) != n_cells:
        raise InputError(f"atlas: expected {n_cells} labels and lots, found {len(labels)} and {len(lots)}")
    named = [names for names in (gene_ids, gene_symbols) if names is not None]
    if not named or any(len(names) != n_genes for names in named):
        raise InputError(f"atlas: expected names of {n_genes} genes: Ensembl ids, symbols, or both")
    if not all(map(str, labels)) or not all(map(str, lots)):
        raise InputError("atlas: expected a label and a lot for every cell, found an empty one")


def _named_genes(
    gene_ids: Sequence[str] | None, gene_symbols: Sequence[str] | None, genes: IntArray
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return Ensembl ids and symbols of the chosen genes, whichever column holds which; a second use is blank."""
    ids, symbols = [""] * len(genes), [""] * len(genes)
    for column in (gene_ids, gene_symbols):
        for place, gene in enumerate(genes if column is not None else ()):
            name = str(column[gene]) if column is not None else ""
            found = ensembl_id(name)
            if found:
                ids[place] = ids[place] or found
            elif name and name.lower() != "nan":
                symbols[place] = symbols[place] or name
    for names, others in ((symbols, ids), (ids, symbols)):
        seen: set[str] = set()
        for place, name in enumerate(names):
            if name in seen and others[place]:
                names[place] = ""
            seen.add(name)
    return tuple(ids), tuple(symbols)


def _transfer(calibration: Calibration, n_lots: int) -> Transfer:
    measured = len(calibration.accuracies) > 0
    reasons = {
        1: "one reference lot: nothing can be said of how the atlas transfers to another lot",
        2: "two reference lots: errors are measured, but two lots cannot calibrate intervals",
    }
    odds = log_odds(calibration.unassigned, calibration.cells)
    novel = log_odds(calibration.novel, calibration.cells)
    enough = len(odds) > 2  # noqa: PLR2004 - the rule of shared.atlas.calibration
    return Transfer(
        lots=n_lots if measured else 0,
        accuracy=float(calibration.accuracies.mean()) if measured else None,
        worst_accuracy=float(calibration.accuracies.min()) if measured else None,
        total_variation=float(calibration.total_variations.mean()) if measured else None,
        worst_total_variation=float(calibration.total_variations.max()) if measured else None,
        unassigned_share=float(np.mean(calibration.unassigned / calibration.cells)) if measured else None,
        unassigned_log_odds=float(odds.mean()) if enough else None,
        unassigned_log_odds_spread=float(odds.std(ddof=1)) if enough else None,
        novel_log_odds=float(novel.mean()) if enough else None,
        novel_log_odds_spread=float(novel.std(ddof=1)) if enough else None,
        interval_calibrated=bool(np.isfinite(calibration.interval_scales).any()),
        reason=reasons.get(n_lots),
    )


def _provenance(
    origin: Origin,
    chosen: FitParameters,
    seed: int,
    counts: Counts,
    n_lots: int,
    clusters: tuple[str, ...],
    cells: NDArray[np.int32],
) -> Provenance:
    used = asdict(chosen) | {"n_dimensions": chosen.n_dimensions or dimensions_for(len(clusters))}
    settings = {name: f"{value:g}" for name, value in used.items()} | dict(origin.settings)
    single = tuple(
        f"cluster {name} occurs in one reference lot only: its transfer to another lot could not be measured"
        for name, row in zip(clusters, cells, strict=True)
        if n_lots > 1 and (row > 0).sum() == 1
    )
    try:
        software = version("crosslot")
    except PackageNotFoundError:
        software = "unreleased"
    return Provenance(
        crosslot=software,
        method=_METHOD if origin.control is None else _METHOD_OF_MORPHOLOGY,
        labels=origin.labels,
        seed=seed,
        cells=counts.shape[0],
        lots=n_lots,
        genes_in_files=counts.shape[1],
        tissue=origin.tissue,
        species=origin.species,
        parameters=tuple(Parameter(name=name, value=value) for name, value in sorted(settings.items())),
        notes=(*origin.notes, *single)[:64],
    )


def _assembled(
    card: Card,
    model: Model,
    calibration: Calibration,
    counts: Counts,
    codes: IntArray,
    lot_codes: IntArray,
    cells: NDArray[np.int32],
) -> Atlas:
    """Return the checked atlas, with the picture of its clusters in the plane that parts their means best."""
    points = model.projection.points(counts)
    C, d = len(card.clusters), points.shape[1]
    groups = [points[codes == code] for code in range(C)]
    means = model.novelty.means
    centred = (means - means.mean(axis=0)) * np.sqrt(np.bincount(codes))[:, None]
    axes = np.linalg.svd(centred, full_matrices=True)[2][:2].T if d > 1 else np.eye(d, 2)
    axes = axes * np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    atlas = Atlas(
        card=card,
        weights=model.projection.weights.astype(np.float32),
        gene_means=model.projection.means.astype(np.float32),
        caps=model.projection.caps.astype(np.float32),
        coefficients=model.classifier.coefficients.astype(np.float32),
        intercepts=model.classifier.intercepts.astype(np.float32),
        novelty_thresholds=calibration.novelty_thresholds.astype(np.float32),
        unassigned_rates=calibration.unassigned_rates.astype(np.float32),
        confusion=calibration.confusion.astype(np.int32),
        share_errors=calibration.share_errors.astype(np.float32),
        interval_scales=calibration.interval_scales.astype(np.float32),
        class_means=means.astype(np.float32),
        class_spreads=model.novelty.spreads.astype(np.float32),
        lot_shifts=_lot_shifts(points, codes, lot_codes, means).astype(np.float32),
        map_axes=axes.astype(np.float32),
        map_covariances=np.array([np.cov((group @ axes).T) for group in groups]).astype(np.float32),
        cells=cells,
    )
    check(atlas)
    return atlas


def _lot_shifts(points: FloatArray, codes: IntArray, lot_codes: IntArray, means: FloatArray) -> FloatArray:
    """Return for each cluster the root mean square over lots of a lot's shift from the mean of all, ``(C,)``."""
    shifts = np.full(len(means), np.nan)
    for code, mean in enumerate(means):
        group = points[codes == code]
        counts = np.bincount(lot_codes[codes == code])
        lots = np.flatnonzero(counts)
        if len(lots) < 2:  # noqa: PLR2004 - one lot is its own mean
            continue
        sums = np.array([group[lot_codes[codes == code] == lot].sum(axis=0) for lot in lots])
        found = shift(counts[lots], sums, mean, group.std(axis=0))
        shifts[code] = np.sqrt(np.mean(found**2))
    return shifts
