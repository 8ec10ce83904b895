"""What a file calls its genes: Ensembl identifiers, symbols, or both.

Rules:

1. Identifiers are looked for in the index and in the columns where tools put them; a column counts as identifiers when
   most of its values look like Ensembl's.
2. A file needs one set of names without repeats. Symbols may repeat where identifiers tell the genes apart.
3. Mitochondrial genes are known by symbol (``MT-``, ``mt-``) or, in people, by identifier.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError

IDENTIFIER_COLUMNS = ("gene_ids", "gene_id", "ensembl_id", "ensembl_ids", "ensembl", "feature_id", "ENSEMBL", "id")
SYMBOL_COLUMNS = (
    "feature_name",
    "gene_symbols",
    "gene_symbol",
    "gene_name",
    "gene_names",
    "symbol",
    "SYMBOL",
    "hgnc_symbol",
    "name",
)

_MITOCHONDRIAL_SYMBOLS = ("MT-", "Mt-", "mT-", "mt-")
_ENSEMBL = re.compile(r"^ENS[A-Z]{0,5}G\d{6,}(\.\d+)?$")
# The 13 protein-coding genes, 2 rRNAs and 22 tRNAs share no prefix in Ensembl; counts are nearly all of the first 15
# (Ensembl release 110, chromosome MT).
_HUMAN_MITOCHONDRIAL = frozenset(
    (
        *("ENSG00000198888", "ENSG00000198763", "ENSG00000198804", "ENSG00000198712", "ENSG00000228253"),
        *("ENSG00000198899", "ENSG00000198938", "ENSG00000198840", "ENSG00000212907", "ENSG00000198886"),
        *("ENSG00000198786", "ENSG00000198695", "ENSG00000198727", "ENSG00000211459", "ENSG00000210082"),
    )
)


@dataclass(frozen=True, kw_only=True)
class GeneNames:
    """The names of a file's genes, in the file's order.

    Attributes
    ----------
    index : tuple of str
        As the file orders them.
    identifiers, symbols : tuple of str
        As long as ``index``; "" where the file has none.
    """

    index: tuple[str, ...]
    identifiers: tuple[str, ...]
    symbols: tuple[str, ...]

    def mitochondrial(self) -> NDArray[np.bool_] | None:
        """Return which genes are mitochondrial ``(n_genes,)``, or None where the names cannot tell."""
        found = np.zeros(len(self.index), dtype=np.bool_)
        found[[place for place, symbol in enumerate(self.symbols) if symbol.startswith(_MITOCHONDRIAL_SYMBOLS)]] = True
        if any(self.identifiers):
            bare = (identifier.partition(".")[0] for identifier in self.identifiers)
            found[[place for place, name in enumerate(bare) if name in _HUMAN_MITOCHONDRIAL]] = True
        return found if found.any() else None


def looks_like_identifiers(names: Sequence[str]) -> bool:
    """Return whether most names look like Ensembl gene identifiers.

    Examples
    --------
    >>> looks_like_identifiers(["ENSG00000169245.5", "ENSMUSG00000034855", "CXCL10"])
    True
    """
    likely = [name for name in names if name.startswith("ENS")]
    return 2 * len(likely) > len(names) and 2 * sum(map(bool, map(_ENSEMBL.match, likely))) > len(names)


def gene_names(path: Path, part: str, index: Sequence[str], columns: Mapping[str, Sequence[str]]) -> GeneNames:
    """Return a file's gene names.

    Parameters
    ----------
    path, part : Path, str
        For messages.
    index : sequence of str
        The names that the file orders its genes by.
    columns : mapping of str to sequence of str
        Those of ``IDENTIFIER_COLUMNS`` and ``SYMBOL_COLUMNS`` that the file has.

    Raises
    ------
    InputError
        No set of names is free of repeats.
    """
    blank = ("",) * len(index)
    index_is_identifiers = looks_like_identifiers(index)
    identifiers = tuple(index) if index_is_identifiers else blank
    if not index_is_identifiers:
        named = (columns[name] for name in IDENTIFIER_COLUMNS if name in columns)
        identifiers = next((tuple(found) for found in named if looks_like_identifiers(found)), blank)
    symbols = blank if index_is_identifiers else tuple(index)
    if index_is_identifiers:
        named = (columns[name] for name in SYMBOL_COLUMNS if name in columns)
        symbols = next((tuple(found) for found in named if not looks_like_identifiers(found)), blank)
    repeated = _repeated(index)
    if repeated and (identifiers == blank or _repeated([name for name in identifiers if name])):
        raise InputError(
            f"{path}: {part}: expected each gene once, found {', '.join(repeated[:5])} more than once",
            hint="keep Ensembl identifiers in var['gene_ids'], or sum the columns of one gene",
        )
    return GeneNames(index=tuple(index), identifiers=identifiers, symbols=symbols)


def _repeated(names: Sequence[str]) -> list[str]:
    if len(set(names)) == len(names):
        return []
    return [name for name, count in Counter(names).items() if count > 1]
