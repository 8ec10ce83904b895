"""The atlas as a file: parameters only, no cell and no embedding of a cell.

Rules.
1. The format is safetensors: named arrays of numbers, no code, no pickle. The card (``shared.atlas.card``) is the
   canonical JSON text in an array of bytes.
2. The same atlas gives the same bytes. The SHA-256 of those bytes is its identity; signing is the protocol's.
3. Reading is strict and bounded: every array is asked for by name, dtype and shape, and must be finite (NaN stands for
   "not measurable" in the arrays that say so). Anything else is refused with :class:`AtlasFormatError`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

import msgspec
import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from shared.atlas.card import PRINTABLE, Card
from shared.errors import InputError

MAXIMUM_BYTES: Final = 64 * 2**20
MAXIMUM_CARD_BYTES: Final = 8 * 2**20
"""Of the card's text: room for the names of as many genes as there may be. Reading takes some twenty times as much."""
MAXIMUM_DIMENSIONS: Final = 512
MAXIMUM_LOTS: Final = 10_000
_LARGEST_PARAMETER: Final = 1e6  # keeps every sum of the kernel far from overflow
_LONGEST_FAULT: Final = 300  # of the words about a card

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int32]


class AtlasFormatError(InputError):
    """The bytes are not an atlas, or not one that this version reads."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Atlas:
    """A reference that maps cells onto clusters. G genes, d dimensions, C clusters, L reference lots.

    A cell's latent point is ``u = sqrt(d) z / |z|`` with ``z = (v - gene_means) @ weights`` over the genes that its
    file has, ``v = min(log1p(target_sum x / library size), caps)``; its logits are ``u @ coefficients + intercepts``.
    """

    card: Card
    weights: FloatArray  # (G, d)
    gene_means: FloatArray  # (G,)
    caps: FloatArray  # (G,)
    coefficients: FloatArray  # (d, C)
    intercepts: FloatArray  # (C,)
    novelty_thresholds: FloatArray  # (C,) energy above which a cell of that best cluster is novel
    unassigned_rates: FloatArray  # (C,) share of a left-out lot's cells of the cluster that end unassigned
    confusion: IntArray  # (C, C + 1) left-out cells: their label by the cluster given; the last column is unassigned
    share_errors: FloatArray  # (C,) mean absolute error of a left-out lot's share; NaN: not measurable
    interval_scales: FloatArray  # (C,) interval = share +- 1.645 scale sqrt(share (1 - share)); NaN: not measurable
    class_means: FloatArray  # (C, d) of latent points
    class_spreads: FloatArray  # (C, d) standard deviations of latent points; above 0
    lot_shifts: FloatArray  # (C,) how far a reference lot's mean lies from the cluster's, in spreads; NaN: one lot
    map_axes: FloatArray  # (d, 2) the plane on which class means are drawn
    map_covariances: FloatArray  # (C, 2, 2) of latent points in that plane
    cells: IntArray  # (C, L)

    @property
    def name(self) -> str:
        """The atlas's name."""
        return self.card.name

    @property
    def clusters(self) -> tuple[str, ...]:
        """The names of the clusters, in the order of every array."""
        return self.card.clusters

    @property
    def gene_ids(self) -> tuple[str, ...]:
        """Ensembl gene ids without version; empty text where unknown."""
        return self.card.gene_ids

    @property
    def gene_symbols(self) -> tuple[str, ...]:
        """Gene symbols; empty text where unknown."""
        return self.card.gene_symbols

    @property
    def target_sum(self) -> float:
        """The library size to which counts are scaled before the logarithm."""
        return self.card.target_sum


_MAY_BE_NAN: Final = frozenset({"share_errors", "interval_scales", "lot_shifts"})
_INTEGER: Final = frozenset({"confusion", "cells"})
_ARRAYS: Final = tuple(field.name for field in fields(Atlas) if field.name != "card")


def _expected_shapes(card: Card, n_dimensions: int, n_lots: int) -> dict[str, tuple[int, ...]]:
    G, C, d = len(card.gene_ids), len(card.clusters), n_dimensions
    return {
        "weights": (G, d),
        "gene_means": (G,),
        "caps": (G,),
        "coefficients": (d, C),
        "intercepts": (C,),
        "novelty_thresholds": (C,),
        "unassigned_rates": (C,),
        "confusion": (C, C + 1),
        "share_errors": (C,),
        "interval_scales": (C,),
        "class_means": (C, d),
        "class_spreads": (C, d),
        "lot_shifts": (C,),
        "map_axes": (d, 2),
        "map_covariances": (C, 2, 2),
        "cells": (C, n_lots),
    }


def _size(arrays: Mapping[str, NDArray[np.generic]], name: str, axis: int, largest: int) -> int:
    """Return the length of one axis of a two-dimensional array, which sets the length expected of others."""
    array = arrays.get(name)
    if array is None or array.ndim != 2 or not 1 <= array.shape[axis] <= largest:  # noqa: PLR2004 - a matrix
        raise AtlasFormatError(f"atlas: expected a matrix {name!r} with 1 to {largest} along axis {axis}")
    return int(array.shape[axis])


def check(atlas: Atlas) -> None:
    """Raise unless the card keeps its rules, and every array has the dtype, shape and range that the card implies.

    Raises
    ------
    AtlasFormatError
        It names the first field or array that is wrong, what was expected and what was found.
    """
    try:
        atlas.card.checked()
    except (TypeError, ValueError) as error:
        raise AtlasFormatError(f"atlas: card: {_fault(error)}") from None
    _check_arrays(atlas.card, {name: getattr(atlas, name) for name in _ARRAYS})


def _check_arrays(card: Card, arrays: Mapping[str, NDArray[np.generic]]) -> None:
    shapes = _expected_shapes(
        card, _size(arrays, "weights", 1, MAXIMUM_DIMENSIONS), _size(arrays, "cells", 1, MAXIMUM_LOTS)
    )
    if arrays.keys() != shapes.keys():
        wrong = ", ".join(sorted(map(repr, arrays.keys() ^ shapes.keys())))
        raise AtlasFormatError(f"atlas: expected the arrays of this format, found missing or unknown: {wrong[:200]}")
    for name, shape in shapes.items():
        array = arrays[name]
        dtype = np.int32 if name in _INTEGER else np.float32
        if array.dtype != dtype or array.shape != shape:
            raise AtlasFormatError(
                f"atlas: array {name!r}: expected {np.dtype(dtype)} {shape}, found {array.dtype} {array.shape}"
            )
        known = array[~np.isnan(array)] if name in _MAY_BE_NAN else array
        if not (np.isfinite(known).all() and (np.abs(known) <= _LARGEST_PARAMETER).all()) and name not in _INTEGER:
            raise AtlasFormatError(f"atlas: array {name!r}: expected finite numbers of at most {_LARGEST_PARAMETER:g}")
    for name in ("caps", "confusion", "cells", "unassigned_rates"):
        if (np.asarray(arrays[name]) < 0).any():
            raise AtlasFormatError(f"atlas: array {name!r}: expected no negative value")
    if not (np.asarray(arrays["class_spreads"]) > 0).all():
        raise AtlasFormatError("atlas: array 'class_spreads': expected positive values")


def to_bytes(atlas: Atlas) -> bytes:
    """Return the atlas's one and only encoding.

    Raises
    ------
    AtlasFormatError
        The atlas breaks a rule of the format.
    """
    check(atlas)
    text = atlas.card.to_text().encode()
    _require_short(len(text))
    arrays = {name: np.ascontiguousarray(getattr(atlas, name)) for name in _ARRAYS}
    data: bytes = safetensors.numpy.save({"card": np.frombuffer(text, dtype=np.uint8), **arrays})
    return data


def _require_short(n_bytes: int) -> None:
    if n_bytes > MAXIMUM_CARD_BYTES:
        raise AtlasFormatError(f"atlas: expected a card of at most {MAXIMUM_CARD_BYTES:,} bytes, found {n_bytes:,}")


def from_bytes(data: bytes) -> Atlas:
    """Return the atlas that ``data`` holds, after checking all of it.

    Raises
    ------
    AtlasFormatError
        Too large, not safetensors, an unknown schema or field, metadata, a wrong dtype or shape, a number that is not
        finite.
    """
    hint = "ask the study's coordinator for the atlas again, and compare its SHA-256"
    if len(data) > MAXIMUM_BYTES:
        raise AtlasFormatError(f"atlas: expected at most {MAXIMUM_BYTES:,} bytes, found {len(data):,}", hint=hint)
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise AtlasFormatError("atlas: expected a safetensors file, found something else", hint=hint) from error
    # The format lets a writer add text of any kind, and nothing here would read or show it.
    if "__metadata__" in json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]):
        raise AtlasFormatError("atlas: expected nothing beside its arrays, found metadata", hint=hint)
    text = arrays.pop("card", None)
    if text is None or text.dtype != np.uint8 or text.ndim != 1:
        raise AtlasFormatError("atlas: expected a card, found none", hint=hint)
    _require_short(text.size)
    try:
        card = Card.from_text(text.tobytes())
    except ValueError as error:
        raise AtlasFormatError(f"atlas: card: {_fault(error)}", hint=hint) from None
    _check_arrays(card, arrays)
    for array in arrays.values():
        array.flags.writeable = False
    return Atlas(card=card, **arrays)


_WORDS: Final = {
    f"`str` matching regex {PRINTABLE!r}": "printable text",
    "Object contains unknown field": "expected no field",
    "Object missing required field": "expected a field",
    "Invalid enum value": "expected a word of this format, found",
    "Expected ": "expected ",
    ", got ": ", found ",
    " - at `$.": " at `",
}
"""Of msgspec's messages, and of this house's."""


def _fault(error: Exception) -> str:
    """Return what is wrong with a card, and where; of what a hostile one says, a little and only what is printable."""
    if isinstance(error, UnicodeDecodeError | msgspec.DecodeError) and not isinstance(error, msgspec.ValidationError):
        return "expected a JSON text"
    said = str(error)
    for theirs, ours in _WORDS.items():
        said = said.replace(theirs, ours)
    shown = said if len(said) <= _LONGEST_FAULT else f"{said[: _LONGEST_FAULT // 2]} ... {said[-_LONGEST_FAULT // 2 :]}"
    return "".join(each if each.isprintable() else "?" for each in shown)


def sha256(data: bytes) -> str:
    """Return the identity of an atlas: the lower-case hexadecimal SHA-256 of its bytes.

    >>> sha256(b"")[:16]
    'e3b0c44298fc1c14'
    """
    return hashlib.sha256(data).hexdigest()
