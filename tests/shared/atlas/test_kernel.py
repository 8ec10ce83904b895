"""The laws of mapping: a cell's result depends on that cell and the atlas, to the last bit, and on nothing else."""

import math
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas
from shared.atlas.genes import match_genes
from shared.atlas.kernel import KernelTables, MappedBlock, Validity, map_block, prepare
from shared.errors import InternalError
from tests.shared.atlas.conftest import GENES, Reference

_FIELDS = ("label", "best", "confidence", "energy", "total_counts", "n_genes", "mito_counts", "latent")


def _map(tables: KernelTables, counts: sp.csr_matrix) -> MappedBlock:
    return map_block(tables, counts.indptr.astype(np.int64), counts.indices, counts.data, with_latent=True)


def _same(one: MappedBlock, other: MappedBlock) -> None:
    for name in _FIELDS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.fixture(scope="module")
def tables(atlas: Atlas) -> KernelTables:
    return prepare(atlas, match_genes(atlas, None, GENES))


@pytest.fixture(scope="module")
def mapped(tables: KernelTables, new_lot: Reference) -> MappedBlock:
    return _map(tables, new_lot.counts)


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, 120), max_size=6), threads=st.integers(1, 4))
def test_blocks_and_threads_do_not_change_a_bit(
    tables: KernelTables, new_lot: Reference, mapped: MappedBlock, cuts: list[int], threads: int
) -> None:
    edges = [0, *sorted(cuts), 120]
    blocks = [new_lot.counts[a:b] for a, b in pairwise(edges)]
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(lambda block: _map(tables, block), blocks))
    for name in _FIELDS:
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(mapped, name))


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 120))
def test_a_cell_maps_the_same_alone_with_others_and_in_any_order(
    tables: KernelTables, new_lot: Reference, mapped: MappedBlock, seed: int, size: int
) -> None:
    rows = np.random.default_rng(seed).permutation(120)[:size]
    part = _map(tables, new_lot.counts[rows])
    for name in _FIELDS:
        np.testing.assert_array_equal(getattr(part, name), getattr(mapped, name)[rows])


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), sort=st.booleans())
def test_the_order_of_the_files_genes_changes_nothing(
    atlas: Atlas, new_lot: Reference, mapped: MappedBlock, seed: int, *, sort: bool
) -> None:
    order = np.random.default_rng(seed).permutation(len(GENES))
    counts = new_lot.counts[:, order]
    if sort:
        counts.sort_indices()
    found = prepare(atlas, match_genes(atlas, None, [GENES[place] for place in order]))
    _same(_map(found, counts), mapped)


@pytest.mark.parametrize(
    ("dtype", "index_dtype"),
    [(np.float64, np.int32), (np.int32, np.int64), (np.uint16, np.int64), (np.int8, np.int64), (np.uint64, np.int32)],
)
def test_every_dtype_of_counts_maps_alike(
    tables: KernelTables, new_lot: Reference, mapped: MappedBlock, dtype: type[np.number], index_dtype: type[np.integer]
) -> None:
    counts = new_lot.counts
    assert counts.data.max() < 128
    found = map_block(
        tables,
        counts.indptr.astype(np.int64),
        counts.indices.astype(index_dtype),
        counts.data.astype(dtype),
        with_latent=True,
    )
    _same(found, mapped)


def test_a_gene_named_twice_in_a_row_is_added_before_the_logarithm(
    tables: KernelTables, new_lot: Reference, mapped: MappedBlock
) -> None:
    counts = new_lot.counts
    halves = [np.repeat(counts.indices[a:b], 2) for a, b in pairwise(counts.indptr)]
    low = np.floor(counts.data / 2)
    doubled = np.stack([low, counts.data - low], axis=1).ravel().astype(np.float32)
    found = map_block(tables, 2 * counts.indptr.astype(np.int64), np.concatenate(halves), doubled, with_latent=True)
    _same(found, mapped)


def test_explicit_zeros_change_nothing(tables: KernelTables, new_lot: Reference, mapped: MappedBlock) -> None:
    dense = new_lot.counts.toarray()
    n, width = dense.shape
    indices = np.tile(np.arange(width, dtype=np.int32), n)
    found = map_block(tables, np.arange(n + 1, dtype=np.int64) * width, indices, dense.ravel(), with_latent=True)
    _same(found, mapped)


def test_the_kernel_agrees_with_plain_numpy(
    atlas: Atlas, tables: KernelTables, new_lot: Reference, mapped: MappedBlock
) -> None:
    dense = new_lot.counts.toarray().astype(np.float64)
    places = [GENES.index(symbol) for symbol in atlas.gene_symbols]
    v = np.minimum(np.log1p(1e4 * dense / dense.sum(axis=1, keepdims=True))[:, places], atlas.caps)
    z = (v - atlas.gene_means) @ atlas.weights.astype(np.float64)
    u = np.sqrt(z.shape[1]) * z / np.linalg.norm(z, axis=1, keepdims=True)
    logits = u @ atlas.coefficients + atlas.intercepts
    settings_ = atlas.card.novelty
    best = logits.argmax(axis=1)
    energy = -settings_.temperature * np.log(np.exp(logits / settings_.temperature).sum(axis=1))
    distance = np.mean(((u - atlas.class_means[best]) / atlas.class_spreads[best]) ** 2, axis=1)
    novelty = settings_.energy_weight * energy + settings_.distance_weight * distance
    p = np.exp(logits / atlas.card.temperature)
    p /= p.sum(axis=1, keepdims=True)
    # The grids of log counts (2^-18) and weights, summed over some hundred genes, stay below 1e-4 of a latent unit.
    assert mapped.latent is not None
    np.testing.assert_allclose(mapped.latent, u, atol=1e-4)
    np.testing.assert_allclose(mapped.energy, novelty, atol=2e-3)
    np.testing.assert_allclose(mapped.confidence, p.max(axis=1), atol=1e-3)
    np.testing.assert_array_equal(mapped.best, best)
    np.testing.assert_array_equal(mapped.total_counts, dense.sum(axis=1))
    np.testing.assert_array_equal(mapped.n_genes, (dense > 0).sum(axis=1))


def test_a_missing_gene_takes_its_term_of_the_offset_with_it(atlas: Atlas, new_lot: Reference) -> None:
    kept = np.arange(0, len(GENES), 2)
    counts = sp.csr_matrix(new_lot.counts[:, kept])
    found = _map(prepare(atlas, match_genes(atlas, None, [GENES[place] for place in kept])), counts)
    dense = counts.toarray().astype(np.float64)
    places = {GENES[place]: column for column, place in enumerate(kept)}
    here = [row for row, symbol in enumerate(atlas.gene_symbols) if symbol in places]
    columns = [places[atlas.gene_symbols[row]] for row in here]
    v = np.minimum(np.log1p(1e4 * dense / dense.sum(axis=1, keepdims=True))[:, columns], atlas.caps[here])
    z = (v - atlas.gene_means[here]) @ atlas.weights[here].astype(np.float64)
    u = np.sqrt(z.shape[1]) * z / np.linalg.norm(z, axis=1, keepdims=True)
    assert found.latent is not None
    np.testing.assert_allclose(found.latent, u, atol=1e-4)


def test_unassigned_are_exactly_the_novel_cells_without_even_odds(atlas: Atlas, mapped: MappedBlock) -> None:
    above = (mapped.energy > atlas.novelty_thresholds[mapped.best]) & (mapped.confidence < 0.5)
    np.testing.assert_array_equal(mapped.label, np.where(above, -1, mapped.best))


def test_an_empty_cell_is_unassigned(tables: KernelTables) -> None:
    found = _map(tables, sp.csr_matrix(np.zeros((2, len(GENES)), dtype=np.float32)))
    assert found.validity is Validity.VALID
    assert found.label.tolist() == [-1, -1]
    assert found.total_counts.tolist() == [0, 0]
    assert np.isinf(found.energy).all()


def test_no_row_at_all_is_an_empty_block(tables: KernelTables) -> None:
    found = _map(tables, sp.csr_matrix(np.zeros((0, len(GENES)), dtype=np.float32)))
    assert found.label.shape == (0,)
    assert found.validity is Validity.VALID


def test_mitochondrial_counts_are_those_of_the_mask(atlas: Atlas, new_lot: Reference) -> None:
    mask: NDArray[np.bool_] = np.zeros(len(GENES), dtype=np.bool_)
    mask[::7] = True
    found = _map(prepare(atlas, match_genes(atlas, None, GENES), mask), new_lot.counts)
    np.testing.assert_array_equal(found.mito_counts, new_lot.counts[:, mask].sum(axis=1).A1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, Validity.NOT_FINITE),
        (math.inf, Validity.NOT_FINITE),
        (-math.inf, Validity.NOT_FINITE),
        (-1.0, Validity.NEGATIVE),
        (0.5, Validity.NOT_INTEGER),
        (1e30, Validity.TOO_LARGE),
        (2.0**31, Validity.TOO_LARGE),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_no_count_is_named_with_its_row(
    tables: KernelTables, new_lot: Reference, value: float, expected: Validity, dtype: type[np.floating]
) -> None:
    counts = new_lot.counts.astype(dtype)
    counts.data[counts.indptr[7] + 2] = value
    found = _map(tables, counts)
    assert (found.validity, found.first_bad_row) == (expected, 7)


@pytest.mark.parametrize("index", [-1, -(2**31), len(GENES), 2**31 - 1])
@pytest.mark.parametrize("place", [0, 1, -1])
def test_an_index_out_of_range_is_named_and_never_followed(
    tables: KernelTables, new_lot: Reference, index: int, place: int
) -> None:
    counts = new_lot.counts.copy()
    counts.indices[counts.indptr[3] + place if place >= 0 else counts.indptr[4] - 1] = index
    found = _map(tables, counts)
    assert (found.validity, found.first_bad_row) == (Validity.INDEX_OUT_OF_RANGE, 3)


@pytest.mark.parametrize("indptr", [[0, 5, 3], [0, 2, 10**9], []])
def test_a_lying_indptr_is_refused_before_any_read(tables: KernelTables, indptr: list[int]) -> None:
    with pytest.raises(InternalError):
        map_block(tables, np.array(indptr, dtype=np.int64), np.zeros(5, np.int32), np.zeros(5, np.float32))
