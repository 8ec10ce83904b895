"""Ensembl ids and symbols are both understood, in any order; another species has a name of its own."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.atlas.artefact import Atlas
from shared.atlas.genes import GeneKind, NoGenesInCommonError, SpeciesError, match_genes
from shared.errors import InputError
from tests.shared.atlas.conftest import GENES, IDS


@settings(max_examples=30)
@given(order=st.permutations(range(len(GENES))))
def test_any_order_of_the_file_finds_the_same_genes(atlas: Atlas, order: list[int]) -> None:
    straight = match_genes(atlas, None, GENES)
    permuted = match_genes(atlas, None, [GENES[place] for place in order])
    np.testing.assert_array_equal(permuted.gene_map, straight.gene_map[order])


@pytest.mark.parametrize(
    ("ids", "symbols", "kind"),
    [
        (IDS, None, GeneKind.ENSEMBL),
        (None, IDS, GeneKind.ENSEMBL),
        (tuple(f"{name}.{place % 9 + 1}" for place, name in enumerate(IDS)), None, GeneKind.ENSEMBL),
        (None, GENES, GeneKind.SYMBOL),
        (GENES, None, GeneKind.SYMBOL),
        (IDS, GENES, GeneKind.ENSEMBL),
        (GENES, IDS, GeneKind.ENSEMBL),
        (IDS[:100] + GENES[100:], None, GeneKind.BOTH),
    ],
)
def test_ids_and_symbols_give_the_same_map(
    atlas: Atlas, ids: tuple[str, ...] | None, symbols: tuple[str, ...] | None, kind: GeneKind
) -> None:
    found = match_genes(atlas, ids, symbols)
    np.testing.assert_array_equal(found.gene_map, match_genes(atlas, IDS, GENES).gene_map)
    assert (found.coverage, found.kind, found.ambiguous) == (1.0, kind, 0)


def test_a_gene_named_twice_counts_as_missing(atlas: Atlas) -> None:
    twice = atlas.gene_symbols[0]
    found = match_genes(atlas, None, [*GENES, twice])
    assert found.ambiguous == 1
    assert found.coverage == 1 - 1 / len(atlas.gene_symbols)
    assert 0 not in found.gene_map


def test_mouse_ids_are_called_mouse(atlas: Atlas) -> None:
    with pytest.raises(SpeciesError, match=r"expected human .*, found mouse"):
        match_genes(atlas, [name.replace("ENSG", "ENSMUSG") for name in IDS], None)


def test_symbols_in_mouse_writing_are_called_another_species(atlas: Atlas) -> None:
    with pytest.raises(SpeciesError, match="upper and lower case"):
        match_genes(atlas, None, [name.capitalize() for name in GENES])


def test_nothing_in_common_shows_an_example_of_both(atlas: Atlas) -> None:
    with pytest.raises(NoGenesInCommonError, match="the file's first is 'a'"):
        match_genes(atlas, ["a", "b"], None)


def test_columns_of_different_length_are_refused(atlas: Atlas) -> None:
    with pytest.raises(InputError, match="one for each gene"):
        match_genes(atlas, IDS, GENES[:-1])
    with pytest.raises(InputError, match="one for each gene"):
        match_genes(atlas, None, None)
