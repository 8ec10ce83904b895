"""Which gene of a file is which gene of an atlas.

Rules.
1. Ensembl ids are compared without their version suffix, symbols exactly. A gene is found by its id first, by its
   symbol otherwise; a file may carry either or both, and its two columns may be swapped.
2. A gene that the file names twice is ambiguous and counts as missing, so that the order of the file never matters.
3. Another species, or nothing in common, is an error with a name of its own; low coverage is the caller's to judge.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from shared.atlas.artefact import Atlas
from shared.errors import InputError

_ENSEMBL = re.compile(r"^(ENS[A-Z]{0,5}?)G([0-9]{11})(?:\.[0-9]+)?$")
_SPECIES = {"ENS": "human", "ENSMUS": "mouse", "ENSRNO": "rat", "ENSSSC": "pig", "ENSMMU": "macaque", "ENSCAF": "dog"}
_MOSTLY = 0.5
_FEW = 0.1  # of the atlas's genes: fewer raise the suspicion of another species


class GeneKind(StrEnum):
    """By what genes were recognised."""

    ENSEMBL = "ensembl"
    SYMBOL = "symbol"
    BOTH = "both"


class SpeciesError(InputError):
    """The file's genes are of another species than the atlas's."""


class NoGenesInCommonError(InputError):
    """Not one gene of the atlas is in the file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneMatch:
    """For each gene of a file, its place in the atlas.

    Attributes
    ----------
    gene_map : (n_file_genes,) int32
        Index into the atlas's genes; -1 where the atlas does not know the gene.
    coverage : float
        The share of the atlas's genes that the file has, 0..1.
    kind : GeneKind
        By what the genes were recognised.
    ambiguous : int
        Genes of the atlas that the file names more than once, counted as missing.
    """

    gene_map: NDArray[np.int32]
    coverage: float
    kind: GeneKind
    ambiguous: int = 0


def ensembl_id(name: str) -> str:
    """Return ``name`` without its version if it is an Ensembl gene id, empty text otherwise.

    >>> ensembl_id("ENSG00000187634.13"), ensembl_id("SAMD11")
    ('ENSG00000187634', '')
    """
    found = _ENSEMBL.match(name) if name.startswith("ENS") else None
    return f"{found[1]}G{found[2]}" if found else ""


def species_of(names: Sequence[str]) -> str | None:
    """Return the species that most of the Ensembl ids among ``names`` belong to; None without any.

    >>> species_of(["ENSMUSG00000051951.6", "Xkr4"])
    'mouse'
    """
    prefixes = Counter(found[1] for found in map(_ENSEMBL.match, names) if found)
    if not prefixes:
        return None
    prefix = prefixes.most_common(1)[0][0]
    return _SPECIES.get(prefix, prefix)


def match_genes(atlas: Atlas, file_ids: Sequence[str] | None, file_symbols: Sequence[str] | None) -> GeneMatch:
    """Return where each gene of a file stands in the atlas.

    Parameters
    ----------
    atlas : Atlas
        Its genes carry an id, a symbol, or both.
    file_ids, file_symbols : sequence of str, or None
        The two name columns of the file, ``(n_file_genes,)``; one may be missing, and either may hold ids or symbols.

    Raises
    ------
    SpeciesError
        The ids, or the writing of the symbols, show another species.
    NoGenesInCommonError
        No gene of the atlas is in the file.
    """
    columns = [column for column in (file_ids, file_symbols) if column is not None]
    if not columns or len({len(column) for column in columns}) != 1:
        raise InputError("genes: expected ids or symbols, one for each gene of the file")
    n_file_genes = len(columns[0])
    found = np.full(len(atlas.gene_ids), -1, dtype=np.int64)  # the file's gene for each gene of the atlas
    ambiguous = np.zeros(len(atlas.gene_ids), dtype=np.bool_)
    identifiers = [list(map(ensembl_id, column)) for column in columns] if any(atlas.gene_ids) else []
    by_id = _find(atlas.gene_ids, identifiers, found, ambiguous)
    by_symbol = _find(atlas.gene_symbols, columns, found, ambiguous)
    if by_id + by_symbol < _FEW * len(found):
        _refuse_another_species(atlas, columns)
    if not by_id and not by_symbol:
        raise _nothing_found(atlas, columns)
    gene_map = np.full(n_file_genes, -1, dtype=np.int32)
    here = np.flatnonzero(found >= 0)
    gene_map[found[here]] = here
    kind = GeneKind.BOTH if by_id and by_symbol else GeneKind.ENSEMBL if by_id else GeneKind.SYMBOL
    return GeneMatch(
        gene_map=gene_map, coverage=len(here) / len(found), kind=kind, ambiguous=int((ambiguous & (found < 0)).sum())
    )


def _find(
    wanted: Sequence[str],
    columns: Sequence[Sequence[str]],
    found: NDArray[np.int64],
    ambiguous: NDArray[np.bool_],
) -> int:
    """Fill ``found`` and ``ambiguous`` where still unknown; return how many genes were newly found."""
    taken = set(found[found >= 0].tolist())
    new = 0
    names = {name for name in wanted if name}
    for column in columns:
        places: dict[str, list[int]] = {}
        known = names.intersection(column)
        for place in [place for place, name in enumerate(column) if name in known] if known else ():
            places.setdefault(column[place], []).append(place)
        for gene, name in enumerate(wanted):
            if found[gene] >= 0 or ambiguous[gene] or name not in places:
                continue
            if len(places[name]) > 1:
                ambiguous[gene] = True
            elif places[name][0] not in taken:
                found[gene] = places[name][0]
                taken.add(places[name][0])
                new += 1
    return new


def _refuse_another_species(atlas: Atlas, columns: Sequence[Sequence[str]]) -> None:
    """Raise if the names show another species than the atlas's."""
    here, there = species_of(atlas.gene_ids), species_of([name for column in columns for name in column])
    if here and there and here != there:
        raise SpeciesError(
            f"genes: expected {here} (the atlas's Ensembl ids), found {there}", hint="use an atlas of the lot's species"
        )
    upper = {name.upper() for column in columns for name in column}
    symbols = [name.upper() for name in atlas.gene_symbols if name]
    if symbols and sum(name in upper for name in symbols) > _MOSTLY * len(symbols):
        raise SpeciesError(
            "genes: the symbols agree with the atlas's but for upper and lower case, as those of mouse and human do",
            hint="use an atlas of the lot's species; if it is the same, write the symbols as the atlas does",
        )


def _nothing_found(atlas: Atlas, columns: Sequence[Sequence[str]]) -> NoGenesInCommonError:
    ids, symbols = any(atlas.gene_ids), any(atlas.gene_symbols)
    has = "Ensembl ids and symbols" if ids and symbols else "Ensembl ids" if ids else "symbols"
    first = next((name for column in columns for name in column if name), "")
    example = next((name for name in atlas.gene_symbols + atlas.gene_ids if name), "")
    return NoGenesInCommonError(
        f"genes: not one of the atlas's {len(atlas.gene_ids)} genes is in the file (the atlas knows {has}, "
        f"for example {example!r}; the file's first is {first!r})",
        hint="name genes by Ensembl id or official symbol in var's index, or in a column 'gene_ids' or 'gene_symbols'",
    )
