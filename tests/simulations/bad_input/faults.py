"""Faults of a file of cells."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


def normalised(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.X = cells.X.copy()
    cells.X.data = np.log1p(cells.X.data)


def _negative(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.X = cells.X.copy()
    cells.X.data[3] = -2


def _halves(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.X = cells.X.copy()
    cells.X.data[5] += 0.5


def _not_finite(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.X = cells.X.copy()
    cells.X.data[7] = np.nan


def same_genes(cells: Any) -> None:  # noqa: ANN401 - AnnData
    del cells.var["gene_ids"]
    cells.var_names = ["GENE0", "GENE0", *cells.var_names[2:]]


def same_cells(cells: Any) -> None:  # noqa: ANN401 - AnnData
    cells.obs_names = ["cell0", "cell0", *cells.obs_names[2:]]


def no_common_genes(cells: Any) -> None:  # noqa: ANN401 - AnnData
    del cells.var["gene_ids"]
    cells.var_names = [f"probe_{place}" for place in range(cells.n_vars)]


def _mouse(cells: Any) -> None:  # noqa: ANN401 - AnnData
    del cells.var["gene_ids"]
    cells.var_names = [f"ENSMUSG{place:011d}" for place in range(cells.n_vars)]


def no_cells(cells: Any) -> Any:  # noqa: ANN401 - AnnData
    return cells[:0].copy()


@dataclass(frozen=True)
class BadCells:
    """A change of one lot's file, and what the message must say besides the file's name."""

    change: Callable[[Any], Any]
    says: tuple[str, ...]


BAD_CELLS = {
    "normalised": BadCells(normalised, ("expected counts", "not whole", "raw counts")),
    "negative": BadCells(_negative, ("expected counts", "negative values")),
    "not whole": BadCells(_halves, ("expected counts", "not whole")),
    "not finite": BadCells(_not_finite, ("expected counts", "NaN")),
    "a gene twice": BadCells(same_genes, ("GENE0", "more than once")),
    "a cell twice": BadCells(same_cells, ("cell0", "expected each cell once")),
    "no gene of the atlas": BadCells(no_common_genes, ("not one of the atlas's", "probe_0")),
    "another species": BadCells(_mouse, ("mouse",)),
    "no cell": BadCells(no_cells, ("cells",)),
}


def remove(path: Path) -> None:
    path.unlink()


def write_text(path: Path) -> None:
    path.write_text("cell,gene\n")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:2000])


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()
