"""The compiled sums of marker genes beside plain numpy, and with whatever a block may hold."""

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.atlas.compiled import log1p
from shared.errors import InputError, InternalError
from site_agent.cells.marker_kernel import HIGH, LOG_GRID, N_SUMS, NONZERO, SCALED, SCALED_GRID, SUM, add_cells
from site_agent.cells.matrices import CellBlock

N_GENES, N_FILE_GENES, N_STATES = 3, 10, 2
SLOTS = np.array([0, -1, 2, -1, 1, -1, -1, -1, -1, -1], dtype=np.int32)


def summed(block: CellBlock, states: list[int], libraries: list[float]) -> NDArray[np.int64]:
    sums = np.zeros((N_STATES, N_GENES, N_SUMS), dtype=np.int64)
    thresholds = np.full((N_STATES, N_GENES), 3.0)
    add_cells(block, np.array(states, np.int32), np.array(libraries), SLOTS, 1e4, thresholds, sums)
    return sums


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), dtype=st.sampled_from([np.float32, np.float64]))
def test_sums_are_those_of_plain_numpy(seed: int, dtype: type[np.floating]) -> None:
    rng = np.random.default_rng(seed)
    dense = rng.poisson(1.0, (6, N_FILE_GENES))
    parts = np.stack([dense // 2, dense - dense // 2], axis=2).reshape(6, -1)  # every gene is named twice
    indices = np.tile(np.repeat(np.arange(N_FILE_GENES, dtype=np.int32), 2), 6)
    indptr = np.arange(7, dtype=np.int64) * 2 * N_FILE_GENES
    states, libraries = [0, 1, -1, 0, 1, 1], (dense.sum(axis=1) + 1.0).tolist()
    found = summed(CellBlock(0, indptr, indices, parts.ravel().astype(dtype)), states, libraries)
    expected = np.zeros_like(found)
    for cell in np.flatnonzero(np.array(states) >= 0):
        for gene in np.flatnonzero((SLOTS >= 0) & (dense[cell] > 0)):
            scaled = dense[cell, gene] * (1e4 / libraries[cell])
            row = expected[states[cell], SLOTS[gene]]
            row[SUM] += int(np.floor(log1p(scaled) * LOG_GRID + 0.5))
            row[SCALED] += int(np.floor(scaled * SCALED_GRID + 0.5))
            row[NONZERO] += 1
            row[HIGH] += log1p(scaled) >= 3.0
    for part in (SUM, SCALED, NONZERO, HIGH):
        np.testing.assert_array_equal(found[..., part], expected[..., part])


@settings(max_examples=100)
@given(content=st.binary(max_size=200), genes=st.binary(max_size=60), states=st.tuples(*2 * [st.integers(-2, 3)]))
def test_whatever_the_bytes_of_a_block_it_is_added_or_named(
    content: bytes, genes: bytes, states: tuple[int, int]
) -> None:
    data = np.frombuffer(content[: len(content) // 4 * 4], dtype=np.float32)
    indices = np.frombuffer(genes, dtype=np.uint8).astype(np.int32) - 4
    n = min(data.size, indices.size)
    block = CellBlock(0, np.array([0, n // 2, n], dtype=np.int64), indices[:n], data[:n])
    with contextlib.suppress(InputError, InternalError):
        assert (summed(block, list(states), [100.0, 100.0]) >= 0).all()


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf, 1e9])
def test_a_value_that_the_mapping_did_not_see_is_named(value: float) -> None:
    block = CellBlock(0, np.array([0, 1]), np.zeros(1, np.int32), np.array([value], np.float32))
    with pytest.raises(InputError, match="changed after they were mapped"):
        summed(block, [0], [100.0])


def test_a_lying_indptr_is_refused_before_any_read() -> None:
    block = CellBlock(0, np.array([0, 9]), np.zeros(1, np.int32), np.ones(1, np.float32))
    with pytest.raises(InternalError):
        summed(block, [0], [100.0])
