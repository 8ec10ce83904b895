"""The compiled kernel beside plain numpy, for tables of every width, and with whatever a block may hold."""

import hashlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.atlas.compiled import LANES, LOG_GRID, MITOCHONDRIAL, exp, log1p
from shared.atlas.kernel import KernelTables, MappedBlock, Validity, map_block
from shared.errors import InternalError

FIELDS = ("label", "best", "confidence", "energy", "total_counts", "n_genes", "mito_counts", "latent")


def made_tables(rng: np.random.Generator, d: int, n_clusters: int, n_genes: int, n_file_genes: int) -> KernelTables:
    """Return tables of an atlas that no cell ever made, on the grids that exact sums need."""
    slots = np.zeros(n_file_genes, dtype=np.int32)
    places = rng.permutation(n_file_genes)[:n_genes]
    slots[places] = np.arange(1, len(places) + 1)
    slots[rng.random(n_file_genes) < 0.1] |= MITOCHONDRIAL
    weights = np.zeros((n_genes, -(-d // LANES) * LANES), dtype=np.float32)
    weights[:, :d] = rng.integers(-1000, 1000, (n_genes, d)) / 4096
    return KernelTables(
        slots=slots,
        has_slot=(slots != 0).astype(np.uint8),
        weights=weights,
        offset=rng.integers(-(2**20), 2**20, d) / 2**18,
        caps=rng.integers(2**18, 2**21, n_genes) / LOG_GRID,
        coefficients=rng.normal(size=(d, n_clusters)),
        intercepts=rng.normal(size=n_clusters),
        thresholds=rng.normal(size=n_clusters),
        means=rng.normal(size=(n_clusters, d)),
        inverse_spreads=rng.uniform(0.5, 2, (n_clusters, d)),
        inverse_temperature=0.7,
        novelty_settings=(4.0, 0.8, 0.5, 0.5),
        target_sum=1e4,
    )


def made_rows(rng: np.random.Generator, n: int, n_file_genes: int, *, rising: bool) -> tuple[NDArray[Any], ...]:
    lengths = rng.integers(0, n_file_genes + 1, n)
    genes = [rng.permutation(n_file_genes)[:length] for length in lengths]
    if not rising:  # some genes more than once
        genes = [rng.choice(each, each.size) if each.size else each for each in genes]
    indices = np.concatenate([np.sort(each) if rising else each for each in genes]).astype(np.int32)
    counts = np.floor(rng.lognormal(0.5, 2, indices.size)).astype(np.float32)
    return np.concatenate(([0], np.cumsum(lengths))).astype(np.int64), indices, counts


def latent_by_numpy(tables: KernelTables, genes: NDArray[Any], counts: NDArray[Any]) -> NDArray[np.float32]:
    """Return one cell's point as the module ``kernel`` states it."""
    sums = np.zeros(len(tables.slots))
    np.add.at(sums, genes, counts)
    z = -tables.offset
    for gene in np.flatnonzero(sums):
        slot = int(tables.slots[gene]) & (MITOCHONDRIAL - 1)
        if slot:
            v = math.floor(log1p(sums[gene] * (tables.target_sum / sums.sum())) * LOG_GRID + 0.5) / LOG_GRID
            z = z + min(v, tables.caps[slot - 1]) * tables.weights[slot - 1, : z.size].astype(np.float64)
    square = 0.0
    for each in z.tolist():
        square += each * each
    return (z * (math.sqrt(z.size) / math.sqrt(square) if square and sums.any() else 0.0)).astype(np.float32)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(1, 53), n_clusters=st.integers(1, 20), rising=st.booleans())
def test_every_width_gives_the_bits_of_plain_numpy(seed: int, d: int, n_clusters: int, *, rising: bool) -> None:
    rng = np.random.default_rng(seed)
    tables = made_tables(rng, d, n_clusters, n_genes=12, n_file_genes=40)
    indptr, indices, counts = made_rows(rng, 5, 40, rising=rising)
    wide, narrow = (
        map_block(tables, indptr, indices, counts, with_latent=True, is_wide=is_wide) for is_wide in (True, False)
    )
    for name in FIELDS:
        assert getattr(wide, name).tobytes() == getattr(narrow, name).tobytes(), name
    assert wide.latent is not None
    for row in range(5):
        run = slice(indptr[row], indptr[row + 1])
        np.testing.assert_array_equal(wide.latent[row], latent_by_numpy(tables, indices[run], counts[run]))


def even(n: int, stream: int) -> NDArray[np.float64]:
    """Return n numbers spread over 0..1, by SplitMix64: no library's next version changes one."""
    x = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(stream << 40)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (x >> np.uint64(11)).astype(np.float64) / 2.0**53


@pytest.mark.parametrize("is_wide", [True, False])
def test_every_machine_gives_these_bits(*, is_wide: bool) -> None:
    """Made on x86-64 by gcc 12; by clang for aarch64, emulated and given these very arrays, they were the same."""
    d, n_clusters, n_genes, n_file_genes, n = 23, 9, 300, 2_000, 400
    slots = np.zeros(n_file_genes, dtype=np.int32)
    slots[np.argsort(even(n_file_genes, 1))[:n_genes]] = np.arange(1, n_genes + 1)
    slots[even(n_file_genes, 2) < 0.05] |= MITOCHONDRIAL
    weights = np.zeros((n_genes, 24), dtype=np.float32)
    weights[:, :d] = np.floor(even(n_genes * d, 3).reshape(n_genes, d) * 2000 - 1000) / 4096
    tables = KernelTables(
        slots=slots,
        has_slot=(slots != 0).astype(np.uint8),
        weights=weights,
        offset=np.floor(even(d, 4) * 2**20) / 2**18,
        caps=np.floor(2**18 + even(n_genes, 5) * 2**20) / LOG_GRID,
        coefficients=even(d * n_clusters, 6).reshape(d, n_clusters) - 0.5,
        intercepts=even(n_clusters, 7),
        thresholds=even(n_clusters, 8),
        means=even(n_clusters * d, 9).reshape(n_clusters, d) - 0.5,
        inverse_spreads=0.5 + even(n_clusters * d, 10).reshape(n_clusters, d),
        inverse_temperature=0.7,
        novelty_settings=(4.0, 0.8, 0.5, 0.5),
        target_sum=1e4,
    )
    present = even(n * n_file_genes, 11).reshape(n, n_file_genes) < even(n, 12)[:, None] * 0.2
    indptr = np.concatenate(([0], np.cumsum(present.sum(axis=1)))).astype(np.int64)
    indices = np.nonzero(present)[1].astype(np.int32)
    counts = np.floor(1 / (even(indices.size, 13) + 1e-6)).astype(np.float32)
    found = map_block(tables, indptr, indices, counts, with_latent=True, is_wide=is_wide)
    digest = hashlib.sha256(b"".join(getattr(found, name).tobytes() for name in FIELDS)).hexdigest()
    assert digest == "5df4ff1a9c7ba968779a2d06e9981c28b9f4c22eb92288b72b9645a53a9dbf7d"
    values = even(100_000, 14)
    texts = [y.hex() for x in values.tolist() for y in (log1p(x * 1e5), exp(-x * 50))]
    digest = hashlib.sha256("".join(texts).encode()).hexdigest()
    assert digest == "0c58457fd0f8edcbe99113672f7333d6d617c0a2c4a525d998c25929d42aaad0"


def outcome(tables: KernelTables, indptr: NDArray[Any], indices: NDArray[Any], data: NDArray[Any]) -> MappedBlock:
    blocks = [map_block(tables, indptr, indices, data, is_wide=is_wide) for is_wide in (True, False)]
    assert blocks[0].validity is blocks[1].validity
    assert blocks[0].first_bad_row == blocks[1].first_bad_row
    return blocks[0]


@settings(max_examples=150)
@given(
    content=st.binary(max_size=400),
    genes=st.binary(max_size=200),
    dtype=st.sampled_from([np.float32, np.float64]),
    small=st.booleans(),
)
def test_whatever_the_bytes_of_a_row_it_is_mapped_or_named(
    content: bytes, genes: bytes, dtype: type[np.floating], *, small: bool
) -> None:
    data = np.frombuffer(content[: len(content) // 8 * 8], dtype=dtype)
    indices = np.frombuffer(genes[: len(genes) // 4 * 4], dtype=np.int32)
    indices = indices & 63 if small else indices  # else nearly every row is out of range
    n = min(data.size, indices.size)
    tables = made_tables(np.random.default_rng(1), 9, 3, n_genes=12, n_file_genes=60)
    found = outcome(tables, np.array([0, n // 2, n], dtype=np.int64), indices[:n], data[:n])
    assert (found.validity is Validity.VALID) == (found.first_bad_row < 0)


def test_counts_add_up_exactly_in_the_longest_row() -> None:
    n = 70_000
    tables = made_tables(np.random.default_rng(2), 8, 3, n_genes=5, n_file_genes=n)
    counts = np.full(n, 2**31 - 256, dtype=np.float32)
    found = outcome(tables, np.array([0, n], dtype=np.int64), np.arange(n, dtype=np.int32), counts)
    assert found.total_counts.tolist() == [n * (2**31 - 256)]
    assert found.n_genes.tolist() == [n]


def test_a_file_without_genes_maps_empty_cells_only() -> None:
    tables = made_tables(np.random.default_rng(3), 8, 3, n_genes=5, n_file_genes=0)
    none = np.zeros(0, dtype=np.float32)
    assert outcome(tables, np.zeros(3, np.int64), none.astype(np.int32), none).label.tolist() == [-1, -1]
    one = np.ones(1, dtype=np.float32)
    found = outcome(tables, np.array([0, 1]), np.zeros(1, np.int32), one)
    assert found.validity is Validity.INDEX_OUT_OF_RANGE


def test_tables_that_point_beyond_the_atlas_are_refused() -> None:
    tables = made_tables(np.random.default_rng(4), 8, 3, n_genes=5, n_file_genes=20)
    tables.slots[3] = 6
    with pytest.raises(InternalError, match="slots"):
        _ = tables.compiled


@settings(max_examples=200)
@given(st.floats(0, 1e12))
def test_log1p_is_within_two_ulp(x: float) -> None:
    assert log1p(x) == pytest.approx(math.log1p(x), rel=4.5e-16, abs=0)


@settings(max_examples=200)
@given(st.floats(-700, 0))
def test_exp_is_within_two_ulp(x: float) -> None:
    assert exp(x) == pytest.approx(math.exp(x), rel=4.5e-16, abs=0)
