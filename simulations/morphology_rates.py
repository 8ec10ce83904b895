"""How often a morphology study finds its driver, from single cells on: drawn, scored, mapped and tested.

Beside it stands the same study with cells scored by the reference's control wells in place of their own plate's: what
a site without control wells would do, and why it is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import anndata
import numpy as np
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas
from shared.atlas.morphology import ControlScale, control_scale
from shared.atlas.morphology_kernel import lay_out, map_features
from shared.errors import DesignError
from shared.statistics.association import associate
from shared.statistics.streams import named_seed
from simulations.cells import lots_of_cells
from simulations.design import Block
from simulations.morphology_cells import CONTROL_COLUMN, CONTROL_VALUE, morphology_of_lots, simulated_morphology
from simulations.power import Rate
from simulations.scenario import Scenario
from simulations.truth import replicate_generator, simulate_study
from site_agent.cells.morphology_builder import build_morphology_atlas

ALPHA = 0.05
_REFERENCE = Block(site="atlas-owner", donors=4, cohort="reference")
_REFERENCE_CELLS = 800
_REFERENCE_STREAM = 11


@dataclass(frozen=True, kw_only=True)
class MorphologyRates:
    """Over studies: the driver leads, is found, another cluster is; and the share of cells given their state."""

    leads: Rate
    found: Rate
    others_found: Rate
    accuracy: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """An atlas of simulated morphology, and the scale of its own control wells."""

    atlas: Atlas
    scale: ControlScale


def reference_of(scenario: Scenario, *, seed: int) -> Reference:
    """Return the atlas of a scenario's reference lots."""
    model = replace(scenario.model, cells_low=_REFERENCE_CELLS, cells_high=_REFERENCE_CELLS)
    study = simulate_study(model, (_REFERENCE,), np.random.default_rng((seed, _REFERENCE_STREAM)))
    drawn = lots_of_cells(study, model, seed=(seed, _REFERENCE_STREAM))
    cells = morphology_of_lots([replace(lot, cells_per_state=(*lot.cells_per_state[:-1], 0)) for lot in drawn])
    atlas = build_morphology_atlas(
        cells,
        lot="lot",
        labels="label",
        control=(CONTROL_COLUMN, CONTROL_VALUE),
        name="simulated morphology",
        seed=seed,
    )
    return Reference(atlas=atlas, scale=control_scale(_values(cells)[_is_control(cells)]))


def morphology_rates(
    scenario: Scenario, reference: Reference, *, replicates: int, seed: int, draws: int = 999, scored: bool = True
) -> MorphologyRates:
    """Return what ``replicates`` studies find.

    Parameters
    ----------
    scored : bool
        False scores every cell by the reference's control wells in place of its own plate's.
    """
    leads = found = others = 0
    right = cells = 0
    driver = scenario.model.drivers[0].cluster if scenario.model.drivers else -1
    for number in range(replicates):
        study = simulate_study(scenario.model, scenario.blocks, replicate_generator(seed, number))
        tables = []
        for lot in lots_of_cells(study, scenario.model, seed=(seed, number)):
            drawn = simulated_morphology(lot, labels=True)
            labels, states = _mapped(drawn, reference, study.clusters, scored=scored)
            right += int(np.count_nonzero(labels == states))
            cells += len(labels)
            tables.append(np.bincount(labels[labels >= 0], minlength=len(study.clusters)) / len(labels))
        try:
            answer = associate(
                np.array(tables),
                study.log_relative_potency,
                study.sites,
                draws=draws,
                entropy=named_seed(seed, str(number), "morphology"),
                threads=1,
            )
        except DesignError:
            continue
        hits = set(np.flatnonzero(answer.p_adjusted <= ALPHA).tolist())
        leads += answer.order()[0] == driver
        found += driver in hits
        others += bool(hits) and driver not in hits
    return MorphologyRates(
        leads=Rate(events=leads, trials=replicates),
        found=Rate(events=found, trials=replicates),
        others_found=Rate(events=others, trials=replicates),
        accuracy=right / cells,
    )


def _mapped(
    cells: anndata.AnnData, reference: Reference, clusters: Sequence[str], *, scored: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the labels that the atlas gives and the true states; -1 is unassigned."""
    names = list(cells.var_names)
    columns = np.array([names.index(feature) for feature in reference.atlas.card.gene_symbols], dtype=np.int64)
    values, control = _values(cells), _is_control(cells)
    scale = control_scale(values[control]) if scored else reference.scale
    own = ControlScale(centre=scale.centre[columns], spread=scale.spread[columns])
    tables = lay_out(reference.atlas, np.arange(len(columns)), columns, own)
    labels = map_features(tables, np.ascontiguousarray(values[~control][:, tables.columns])).label
    place = {name: number for number, name in enumerate(clusters)}
    states = [place.get(str(name), -1) for name in cells.obs["label"][~control]]
    return labels.astype(np.int64), np.array(states, dtype=np.int64)


def _values(cells: anndata.AnnData) -> NDArray[np.float64]:
    return np.asarray(cells.X, dtype=np.float64)


def _is_control(cells: anndata.AnnData) -> NDArray[np.bool_]:
    return np.asarray((cells.obs[CONTROL_COLUMN].astype(str) == CONTROL_VALUE).to_numpy(), dtype=np.bool_)
