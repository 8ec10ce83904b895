"""The obs and var tables of an AnnData file, in HDF5 or zarr: names and single columns, as text.

Rules:

1. A table is read by slices; a name longer than the bound is refused.
2. A column becomes codes into its distinct texts. Whole numbers read as ``101`` even where they are stored as
   ``101.0``, so that ``donor=101`` finds them.
3. Links that lead out of the file are not followed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from site_agent.cells.bounds import MAXIMUM_CATEGORIES, MAXIMUM_TEXT_BYTES, damaged, naming_damage
from site_agent.cells.chunks import checked_dataset

_SLICE = 8_192


@dataclass(frozen=True, eq=False)
class TextColumn:
    """A column as codes into its distinct texts.

    Attributes
    ----------
    codes : ndarray of int32, ``(n_rows,)``
        -1 where the value is missing.
    texts : tuple of str
        Distinct.
    """

    codes: NDArray[np.int32]
    texts: tuple[str, ...]

    def equals(self, text: str) -> NDArray[np.bool_]:
        """Return which rows read as ``text``, ``(n_rows,)``."""
        if text not in self.texts:
            return np.zeros(self.codes.size, dtype=np.bool_)
        return np.equal(self.codes, self.texts.index(text))


@dataclass(frozen=True, eq=False)
class Frame:
    """The obs or var table of a file: h5py or zarr objects beneath.

    Attributes
    ----------
    group : h5py.Group or zarr.Group
        The encoded table.
    n_rows : int
        Of the index.
    """

    path: Path
    part: str
    group: Any
    index_name: str
    n_rows: int
    columns: tuple[str, ...]

    def names(self, start: int, stop: int) -> list[str]:
        """Return the index of rows ``start..stop``."""
        dataset = child(self.group, self.index_name, self.path, f"{self.part}/{self.index_name}")
        return texts_of(dataset, start, stop, self.path, f"{self.part}/{self.index_name}")

    def column(self, name: str) -> TextColumn:
        """Return a column.

        Raises
        ------
        InputError
            There is no such column, it cannot be read, or it has too many distinct values.
        """
        if name not in self.columns:
            known = ", ".join(self.columns[:20]) or "none"
            raise InputError(f"{self.path}: {self.part} has no column {name!r}", hint=f"it has {known}")
        part = f"{self.part}/{name}"
        with naming_damage(self.path, part):
            item = child(self.group, name, self.path, part, group_allowed=True)
            column = self._read(item, name, part)
        if column.codes.size != self.n_rows:
            raise damaged(self.path, part, f"expected {self.n_rows} values, found {column.codes.size}")
        return column

    def _read(self, item: Any, name: str, part: str) -> TextColumn:  # noqa: ANN401 - h5py ships no types
        if not _is_group(item):
            old = self.group.get("__categories", {})
            if name in old:  # anndata before 0.8
                return self._categorical(item, child(old, name, self.path, part), part)
            return _encoded(_slices(item, 0, int(item.shape[0]), self.path, part), self.path, part)
        if "codes" in item and "categories" in item:
            codes = child(item, "codes", self.path, part)
            return self._categorical(codes, child(item, "categories", self.path, part), part)
        if "values" in item and "mask" in item:  # pandas' nullable types
            values, mask = child(item, "values", self.path, part), child(item, "mask", self.path, part)
            column = _encoded(_slices(values, 0, int(values.shape[0]), self.path, part), self.path, part)
            return TextColumn(np.where(np.asarray(mask[:]), np.int32(-1), column.codes), column.texts)
        raise damaged(self.path, part, "a kind of column that is not known")

    def _categorical(self, codes: Any, categories: Any, part: str) -> TextColumn:  # noqa: ANN401 - h5py ships no types
        n_texts = int(categories.shape[0])
        if n_texts > max(self.n_rows, MAXIMUM_CATEGORIES):
            raise damaged(self.path, part, f"{n_texts} categories for {self.n_rows} rows")
        if tuple(codes.shape) != (self.n_rows,):
            raise damaged(self.path, part, f"expected {self.n_rows} values, found shape {codes.shape}")
        texts = tuple(
            text
            for piece in _slices(categories, 0, n_texts, self.path, part)
            for text in _as_texts(piece, self.path, part)
        )
        narrow = np.asarray(codes[:])
        if narrow.dtype.kind not in "iu" or (
            narrow.size and not -1 <= int(narrow.min()) <= int(narrow.max()) < n_texts
        ):
            raise damaged(self.path, part, "a code lies outside its categories")
        return TextColumn(narrow.astype(np.int32), texts)


def open_frame(parent: Any, name: str, path: Path) -> Frame:  # noqa: ANN401 - h5py ships no types
    """Return the table ``name`` of an AnnData group.

    Raises
    ------
    InputError
        It is missing or is not an encoded table.
    """
    with naming_damage(path, name):
        if name not in parent:
            raise InputError(f"{path}: expected an AnnData file, found no {name}", hint="is it an .h5ad of cells?")
        group = child(parent, name, path, name, group_allowed=True)
        if not _is_group(group):
            hint = "it was written by anndata before 0.7: read it and write it once with a current anndata"
            raise InputError(f"{path}: {name} is stored as one compound table", hint=hint)
        index_name = group.attrs.get("_index", "_index")
        index_name = index_name.decode() if isinstance(index_name, bytes) else str(index_name)
        if index_name not in group:
            raise damaged(path, name, f"its index {index_name[:80]!r} is missing")
        index = child(group, index_name, path, f"{name}/{index_name}")
        if len(index.shape) != 1:
            raise damaged(path, name, f"its index has shape {index.shape}")
        columns = tuple(str(key) for key in group if str(key) not in {index_name, "__categories"})
        return Frame(path, name, group, index_name, int(index.shape[0]), columns)


def child(group: Any, name: str, path: Path, part: str, *, group_allowed: bool = False) -> Any:  # noqa: ANN401 - h5py ships no types
    """Return ``group[name]``, a dataset within the bounds (or a group, where allowed).

    Raises
    ------
    InputError
        It is missing, leads to another file, is of the wrong kind, or breaks a bound.
    """
    with naming_damage(path, part):
        if name not in group:
            raise damaged(path, part, "it is missing")
        is_hdf5 = type(group).__module__.startswith("h5py")
        if is_hdf5 and hasattr(group.get(name, getlink=True), "filename"):
            raise InputError(f"{path}: {part} lies in another file", hint="copy it into one file: read it, write it")
        item = group[name]
        if _is_group(item):
            if not group_allowed:
                raise damaged(path, part, "expected a dataset, found a group")
            return item
        return checked_dataset(item, path, part) if is_hdf5 else item


def repeated_rows(pieces: Iterable[Sequence[str]]) -> tuple[int, int] | None:
    """Return two rows that seem to hold the same text, or None; 8 bytes a text are held, never the texts.

    Equal hashes are not proof: the caller compares the two texts.
    """
    hashes = [np.fromiter(map(hash, piece), dtype=np.int64, count=len(piece)) for piece in pieces]
    joined = np.concatenate(hashes) if hashes else np.empty(0, dtype=np.int64)
    ordered = np.sort(joined)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not twice.size:
        return None
    first, second = np.flatnonzero(joined == twice[0])[:2].tolist()
    return first, second


def texts_of(dataset: Any, start: int, stop: int, path: Path, part: str) -> list[str]:  # noqa: ANN401 - h5py ships no types
    """Return the items ``start..stop`` of a column as text."""
    return [text for piece in _slices(dataset, start, stop, path, part) for text in _as_texts(piece, path, part)]


def _is_group(item: Any) -> bool:  # noqa: ANN401 - h5py ships no types
    return hasattr(item, "keys")


def _slices(dataset: Any, start: int, stop: int, path: Path, part: str) -> Iterator[NDArray[Any]]:  # noqa: ANN401 - h5py ships no types
    for first in range(start, stop, _SLICE):
        with naming_damage(path, part):
            piece = np.asarray(dataset[first : min(first + _SLICE, stop)])
        yield piece


def _as_texts(values: NDArray[Any], path: Path, part: str) -> list[str]:
    """Return values as text: strings decoded, whole numbers without a decimal point."""
    if values.ndim != 1:
        raise damaged(path, part, f"expected one column, found shape {values.shape}")
    items = values.tolist()
    with naming_damage(path, part):
        # Names are bytes nearly always, and a file has as many as cells.
        texts = list(map(bytes.decode, items)) if set(map(type, items)) == {bytes} else list(map(_text, items))
    if max(map(len, texts), default=0) > MAXIMUM_TEXT_BYTES:
        raise damaged(path, part, f"a name is longer than {MAXIMUM_TEXT_BYTES} characters")
    return texts


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _encoded(pieces: Iterator[NDArray[Any]], path: Path, part: str) -> TextColumn:
    numbers: dict[str, int] = {}
    codes: list[NDArray[np.int32]] = []
    for piece in pieces:
        texts = _as_texts(piece, path, part)
        codes.append(np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int32))
        if len(numbers) > MAXIMUM_CATEGORIES:
            raise InputError(
                f"{path}: {part} has more than {MAXIMUM_CATEGORIES:,} distinct values", hint="name a column of groups"
            )
    return TextColumn(np.concatenate(codes) if codes else np.empty(0, dtype=np.int32), tuple(numbers))
