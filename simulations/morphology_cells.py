r"""Cells of a simulated lot under a microscope: counts of states to continuous features, control wells beside them.

A cell c of state k, of lot l on its plate at site s, has for feature f

.. math::
    x_{cf} = m_f + s_f\, (\beta_{sf} + \delta_{lf} + \sigma_{lf}\, (a_{kf} + e_{cf})), \qquad e_c \sim N(0, \Sigma)

with the state's programme :math:`a_k \sim N(0, .4^2)`, the site's stain and microscope :math:`\beta_s \sim N(0, .8^2)`,
the plate's :math:`\delta_l \sim N(0, .3^2)` and gain :math:`\ln \sigma_l \sim N(0, .15^2)`, and features correlated in
blocks of four (.4). Cells of control wells, 150 a plate, are of a state of their own with :math:`a = 0`: they bear the
plate's offset and gain and nothing else, which is what a robust z-score takes out. m and s only give the features sizes
such as CellProfiler writes. Unassigned cells are of a state that no cluster holds.
"""

from collections.abc import Sequence
from typing import Final

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from simulations.cells import LotOfCells

CONTROL_COLUMN: Final = "well"
CONTROL_VALUE: Final = "control"
CONTROLS_PER_PLATE: Final = 150
_PANEL_SEED: Final = 20_231_117
_STATE_SD, _SITE_SD, _PLATE_SD, _GAIN_SD, _WITHIN_BLOCK = 0.4, 0.8, 0.3, 0.15, 0.4
_BLOCK: Final = 4
FloatArray = NDArray[np.float64]

FEATURES: Final = tuple(
    f"{part}_{group}_{what}"
    for part in ("Cells", "Cytoplasm", "Nuclei")
    for group, names in (
        ("AreaShape", ("Area", "Eccentricity", "FormFactor", "Solidity")),
        ("Intensity", ("MeanActin", "MeanDNA", "MeanMito", "MeanER")),
        ("Texture", ("ContrastActin", "EntropyActin", "ContrastMito", "EntropyMito")),
        ("RadialDistribution", ("FracActin1of4", "FracActin4of4", "FracMito1of4", "FracMito4of4")),
    )
    for what in names
)
"""48 features, named as CellProfiler names them."""


def simulated_morphology(lot: LotOfCells, *, labels: bool = False) -> anndata.AnnData:
    """Draw the cells of one lot and of its plate's control wells, in random order.

    Parameters
    ----------
    lot : LotOfCells
        Which lot.
    labels : bool
        Whether ``obs['label']`` tells each cell's cluster ("control" for control wells).

    Returns
    -------
    anndata.AnnData
        ``X`` is dense float32, ``(n_cells, 48)``; ``obs`` holds ``lot`` and ``well`` ("sample" or "control").
    """
    site, rng = np.random.default_rng(lot.site_seed), np.random.default_rng(lot.lot_seed)
    programmes, location, size = _panel(len(lot.cells_per_state))
    n_features = len(FEATURES)
    offset = _SITE_SD * site.standard_normal(n_features) + _PLATE_SD * rng.standard_normal(n_features)
    gain = np.exp(_GAIN_SD * rng.standard_normal(n_features))
    control = len(lot.cells_per_state)  # the last programme: none
    states = np.repeat(np.arange(control + 1), [*lot.cells_per_state, CONTROLS_PER_PLATE])
    rng.shuffle(states)
    noise = _correlated(rng, len(states), n_features)
    values = location + size * (offset + gain * (programmes[states] + noise))
    names = [f"{lot.lot}-cell-{number:05d}" for number in range(1, len(states) + 1)]
    wells = np.where(states == control, CONTROL_VALUE, "sample")
    observations = pd.DataFrame(
        {"lot": pd.Categorical([lot.lot] * len(states)), CONTROL_COLUMN: pd.Categorical(wells)}, index=names
    )
    if labels:
        categories = np.array([*lot.clusters, "unassigned", CONTROL_VALUE])
        observations["label"] = pd.Categorical(categories[states], categories=categories)
    return anndata.AnnData(X=values.astype(np.float32), obs=observations, var=pd.DataFrame(index=pd.Index(FEATURES)))


def morphology_of_lots(lots: Sequence[LotOfCells]) -> anndata.AnnData:
    """Draw several labelled lots into one object, as the owner of a reference holds them."""
    return anndata.concat([simulated_morphology(lot, labels=True) for lot in lots], merge="same")


def _panel(n_states: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return programmes (n_states + 1, F), the last that of controls, and each feature's location and size (F,)."""
    rng = np.random.default_rng(_PANEL_SEED)
    location, size = np.exp(rng.normal(3.0, 1.0, len(FEATURES))), np.exp(rng.normal(1.0, 0.5, len(FEATURES)))
    programmes = _STATE_SD * rng.standard_normal((256, len(FEATURES)))[:n_states]
    return np.vstack([programmes, np.zeros(len(FEATURES))]), location, size


def _correlated(rng: np.random.Generator, n_cells: int, n_features: int) -> FloatArray:
    common = np.repeat(rng.standard_normal((n_cells, n_features // _BLOCK)), _BLOCK, axis=1)
    own = rng.standard_normal((n_cells, n_features))
    return np.asarray(np.sqrt(_WITHIN_BLOCK) * common + np.sqrt(1 - _WITHIN_BLOCK) * own)
