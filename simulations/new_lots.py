"""New lots of one site, made after the study: what a site holds against a specification, with their truth.

``new-lots/`` of a study folder holds ``high-share.h5ad`` and ``low-share.h5ad`` (much and little of the driver), and
``strange.h5ad`` (a third of its cells of a state that no reference lot has), and ``series/lot-01.h5ad`` and on: the
site's lots in order of their making, of a steady process at first, that then loses the driver bit by bit.
``truth.json`` beside them says each lot's true shares and true log potency. The cells have the batch of the first site.
"""

import json
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.runtime.console import Advance
from shared.runtime.files import write_atomically
from simulations.cells import LotOfCells, lots_of_cells, simulated_anndata
from simulations.truth import Model, SimulatedStudy

FOLDER: Final = "new-lots"
STEADY_LOTS: Final = 20
DRIFTING_LOTS: Final = 6
NEW_LOTS: Final = 3 + STEADY_LOTS + DRIFTING_LOTS
_STREAM: Final = 7
_CELLS: Final = 1_500
_SERIES_CELLS: Final = 800
_USUAL_SHARE, _HIGH_SHARE, _LOW_SHARE = 0.12, 0.20, 0.05
_USUAL_SD: Final = 0.015
_LOSS_PER_LOT: Final = 0.012
_STRANGE: Final = 0.35


def write_new_lots(folder: Path, study: SimulatedStudy, model: Model, *, seed: int, advance: Advance) -> None:
    """Write the new lots of a study into ``folder``, and their truth; ``advance`` is called `NEW_LOTS` times.

    Parameters
    ----------
    folder : Path
        The study's.
    study, model : SimulatedStudy, Model
        Give the clusters, the driver, the first site's batch, and the potency that a share makes.
    seed : int
        Of the study: the same seed gives the same lots.
    """
    rng = np.random.default_rng((seed, _STREAM))
    usual = _USUAL_SHARE + _USUAL_SD * rng.standard_normal(STEADY_LOTS + DRIFTING_LOTS)
    usual[STEADY_LOTS:] -= _LOSS_PER_LOT * np.arange(1, DRIFTING_LOTS + 1)
    wanted = [
        ("high-share", _HIGH_SHARE, 0.0, _CELLS),
        ("low-share", _LOW_SHARE, 0.0, _CELLS),
        ("strange", _USUAL_SHARE, _STRANGE, _CELLS),
        *((f"series/lot-{number:02d}", float(share), 0.0, _SERIES_CELLS) for number, share in enumerate(usual, 1)),
    ]
    template = lots_of_cells(study, model, seed=seed)[0]
    (folder / FOLDER / "series").mkdir(parents=True)
    truth = []
    for number, (name, driver, strange, cells) in enumerate(wanted):
        shares = _shares(model, driver)
        lot = _lot(template, name, shares, strange, cells, rng, number, seed)
        path = folder / FOLDER / f"{name}.h5ad"
        simulated_anndata(lot).write_h5ad(path, compression="gzip", compression_opts=1)
        truth.append(
            {
                "file": f"{name}.h5ad",
                "true_shares": [round(float(share), 9) for share in shares],
                "cells": list(lot.cells_per_state),
                "expected_log_potency": round(float(model.ischemia + model.slope * shares[_driver(model)]), 9),
            }
        )
        advance()
    document = {"clusters": list(study.clusters), "lots": truth}
    write_atomically(folder / FOLDER / "truth.json", (json.dumps(document, indent=1) + "\n").encode())


def _driver(model: Model) -> int:
    return model.drivers[0].cluster


def _shares(model: Model, driver: float) -> NDArray[np.float64]:
    """Return the base shares with the driver's set, the others scaled to close."""
    shares = np.array(model.base_shares)
    rest = 1.0 - shares[_driver(model)]
    shares *= (1.0 - driver) / rest
    shares[_driver(model)] = driver
    return shares


def _lot(
    template: LotOfCells,
    name: str,
    shares: NDArray[np.float64],
    strange: float,
    cells: int,
    rng: np.random.Generator,
    number: int,
    seed: int,
) -> LotOfCells:
    unassigned = max(strange, 0.03)
    drawn = rng.multinomial(cells, [*(shares * (1.0 - unassigned)), unassigned])
    return LotOfCells(
        lot=name.rsplit("/", maxsplit=1)[-1],
        site=template.site,
        clusters=template.clusters,
        cells_per_state=tuple(int(count) for count in drawn),
        driver_clusters=template.driver_clusters,
        marker_log_ratio=0.0,
        site_seed=template.site_seed,
        lot_seed=np.random.SeedSequence(seed, spawn_key=(_STREAM, number)),
        cell_model=template.cell_model,
    )
