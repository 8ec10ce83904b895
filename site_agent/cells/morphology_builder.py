"""Cells of several reference lots, with their control wells, to an atlas of morphology.

Rules.
1. Each lot is scored against its own control wells: cells of the control column's value that bear the lot's name. A lot
   without them is a named error, for its features would carry its plate.
2. A feature that the controls of some lot cannot score, because they do not vary, or that is not finite somewhere, is
   left out and told in the card's notes.
3. Labels are the owner's; control cells are of no cluster. Nothing that names a lot or a file enters the atlas.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas
from shared.atlas.card import Control
from shared.atlas.fit import Origin, fit_atlas
from shared.atlas.model import FitParameters
from shared.atlas.morphology import FEWEST_CONTROLS, MOST_FEATURES, control_scale
from shared.errors import InputError
from site_agent.cells.atlas_builder import column_of, read_cells, require_cluster_names

_LONGEST_NAME: Final = 64
FloatArray = NDArray[np.float64]


def build_morphology_atlas(
    source: Any,  # noqa: ANN401 - an AnnData, which ships no types, or paths
    *,
    lot: str,
    labels: str,
    control: tuple[str, str],
    name: str,
    seed: int,
    layer: str | None = None,
    tissue: str | None = None,
    parameters: FitParameters | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Atlas:
    """Return an atlas of reference lots by their cells' morphology.

    Parameters
    ----------
    source : AnnData, path, or sequence of paths
        h5ad files of the same features, control wells included.
    lot, labels : str
        The obs columns of the lot, of every cell, and of the owner's labels, of all but control cells.
    control : (column, value)
        Which cells are of control wells; sites mark theirs in the same way.
    progress : callable, optional
        Called with the number of lots left out so far and of all.

    Raises
    ------
    InputError
        A column is missing, a lot lacks control wells, or a feature's name is too long.
    DesignError
        Too few clusters have enough cells.
    """
    cells = read_cells(source)
    lots = column_of(cells, lot)
    is_control = column_of(cells, control[0]) == control[1]
    features = [str(each) for each in cells.var_names]
    _require_features(features)
    values = _values(cells, layer)
    scores, scored = _scored(values, lots, is_control, lot)
    usable = np.flatnonzero(scored & np.isfinite(values).all(axis=0))
    if not usable.size:
        raise InputError("atlas: expected features that control wells can score, found none that vary in every lot")
    owned = column_of(cells[~is_control], labels)
    require_cluster_names(owned, labels)
    left_out = [each for place, each in enumerate(features) if place not in set(usable.tolist())]
    notes = (
        (f"left out, for control wells of some lot do not vary in them: {', '.join(left_out[:10])}"[:1_000],)
        if left_out
        else ()
    )
    return fit_atlas(
        scores[~is_control][:, usable],
        owned.tolist(),
        lots[~is_control].tolist(),
        gene_ids=None,
        gene_symbols=[features[place] for place in usable],
        origin=Origin(
            name=name,
            tissue=tissue,
            notes=notes,
            control=Control(column=control[0], value=control[1]),
        ),
        seed=seed,
        parameters=parameters,
        progress=progress,
    )


def _require_features(features: Sequence[str]) -> None:
    if len(features) > MOST_FEATURES:
        raise InputError(f"atlas: expected at most {MOST_FEATURES} features, found {len(features)}")
    long = [each for each in features if len(each) > _LONGEST_NAME]
    if long:
        raise InputError(
            f"atlas: expected names of features of at most {_LONGEST_NAME} characters, found {long[0][:90]!r}",
            hint="shorten them, in the reference and at every site alike",
        )
    if len(set(features)) != len(features):
        raise InputError("atlas: expected each feature once in var, found a name twice")


def _values(cells: Any, layer: str | None) -> FloatArray:  # noqa: ANN401 - AnnData
    if layer is not None and layer not in cells.layers:
        raise InputError(f"atlas: expected a layer {layer!r}, found: {', '.join(cells.layers) or 'none'}")
    found = cells.X if layer is None else cells.layers[layer]
    if found is None:
        raise InputError("atlas: expected features in X, found no X", hint="name the layer that holds them")
    dense = found.toarray() if hasattr(found, "toarray") else found
    return np.asarray(dense, dtype=np.float64)


def _scored(
    values: FloatArray, lots: NDArray[np.str_], is_control: NDArray[np.bool_], column: str
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return the scores (n, F) of every cell against its own lot's controls, and which features all of them score."""
    scores = np.zeros_like(values)
    scored = np.ones(values.shape[1], dtype=np.bool_)
    for name in map(str, np.unique(lots)):
        of_lot = lots == name
        controls = of_lot & is_control
        if np.count_nonzero(controls) < FEWEST_CONTROLS:
            raise InputError(
                f"atlas: lot {name!r} of column {column!r}: expected at least {FEWEST_CONTROLS} cells of control "
                f"wells, found {np.count_nonzero(controls)}",
                hint="control cells bear the name of the lot whose plate they stand on",
            )
        finite = np.isfinite(values[controls]).all(axis=0)
        scale = control_scale(np.where(finite, values[controls], 0.0))
        scored &= finite & scale.scores
        scores[of_lot] = scale.scored(np.where(np.isfinite(values[of_lot]), values[of_lot], 0.0))
    return scores, scored
