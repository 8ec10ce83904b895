"""One-dimensional HDF5 datasets whose bytes lie open in the file, read by many threads without the HDF5 library.

``shared/native/reading.c`` reads by position and undoes the filters; ``chunks.open_vector`` chooses between this and
the library.
"""

import os
import threading
from ctypes import POINTER, Structure, byref, c_int32, c_int64, c_void_p, pointer
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError, InternalError
from shared.native.library import LIBRARY, NO_MEMORY, address
from site_agent.cells.bounds import damaged
from site_agent.cells.decoders import Codecs, Steps

_NOT_READ, _ENDS_EARLY, _NOT_DECODED = -2, -3, -4  # reading.h
_ITEMS_AT_ONCE = 2**15
"""Of a vector in one run: small enough for the processor's cache."""

_EDGE_BYTES = 16 * 2**20
_MAXIMUM_EDGES = 16
"""Decoded chunks kept for the neighbours of running blocks, by number and by size."""


class Kind(Structure):
    """Kind of items. As ``struct kind``."""

    _fields_ = (("letter", c_int32), ("bytes", c_int32))


class CompiledVector(Structure):
    """As ``struct vector``."""

    _fields_ = (
        *((name, c_void_p) for name in ("offsets", "sizes", "masks")),
        ("codecs", POINTER(Codecs)),
        *((name, c_int64) for name in ("run_offset", "n_items", "items_per_chunk", "largest_stored")),
        ("kind", Kind),
        *(("descriptor", c_int32), ("n_steps", c_int32), ("steps", Steps)),
    )


class Fault(Structure):
    """Where reading failed. As ``struct fault``."""

    _fields_ = (("chunk", c_int64), ("is_of_counts", c_int32), ("system", c_int32))


for _name in ("crosslot_read_chunks", "crosslot_read_run"):
    getattr(LIBRARY, _name).argtypes = [POINTER(CompiledVector), c_int64, c_int64, c_void_p, POINTER(Fault)]


@dataclass(frozen=True, eq=False)
class Chunks:
    """Where the chunks of a dataset lie, and how they are decoded.

    Attributes
    ----------
    offsets, sizes, masks : ndarray, ``(n_chunks,)``
        Where each chunk lies, its stored bytes, and which filters it skipped.
    filter_codes : tuple of int
        In the order in which they were applied.
    """

    items: int
    offsets: NDArray[np.int64]
    sizes: NDArray[np.int64]
    masks: NDArray[np.uint32]
    filter_codes: tuple[int, ...]
    codecs: Codecs


class _EdgeChunk:
    """A chunk that neighbouring blocks share: the first to ask decodes it, the others wait for that."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.values: NDArray[Any] | None = None


@dataclass(frozen=True, eq=False)
class FileVector:
    """A vector whose bytes lie open in the file: in one run that begins at ``offset``, or in chunks."""

    descriptor: int
    size: int
    dtype: np.dtype[Any]
    path: Path
    part: str
    offset: int = 0
    chunks: Chunks | None = None
    _edges: dict[int, _EdgeChunk] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def compiled(self) -> CompiledVector:
        """The same for compiled code, which reads these very arrays: they are kept as long as this is."""
        vector = CompiledVector(
            descriptor=self.descriptor,
            n_items=self.size,
            kind=Kind(ord(self.dtype.kind), self.dtype.itemsize),
            run_offset=self.offset,
            items_per_chunk=_ITEMS_AT_ONCE,
        )
        if self.chunks is not None:
            chunks, n = self.chunks, -(-self.size // self.chunks.items)
            vector.offsets = address(chunks.offsets, np.int64, [n])
            vector.sizes = address(chunks.sizes, np.int64, [n])
            vector.masks = address(chunks.masks, np.uint32, [n])
            vector.largest_stored = int(chunks.sizes.max(initial=0))
            vector.items_per_chunk = chunks.items
            vector.codecs = pointer(chunks.codecs)
            vector.n_steps, vector.steps = len(chunks.filter_codes), Steps(*chunks.filter_codes)
        return vector

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the items of ``start..stop``, from any thread.

        Raises
        ------
        InputError
            The file ends early, or a chunk does not decode.
        """
        if not 0 <= start <= stop <= self.size:
            raise InternalError(f"expected a part of {self.size} items, found {start} to {stop}")
        out = np.empty(stop - start, dtype=self.dtype)
        if stop <= start:
            return out
        if self.chunks is None:
            self._call(LIBRARY.crosslot_read_run, start, stop, out)
            return out
        per = self.chunks.items
        whole, end = -(-start // per), stop // per
        if end > whole:
            self._call(LIBRARY.crosslot_read_chunks, whole, end, out[whole * per - start : end * per - start])
        for number in {at // per for at in (start, stop) if at % per}:
            first, last = max(start, number * per), min(stop, (number + 1) * per)
            out[first - start : last - start] = self._edge(number, per)[first - number * per : last - number * per]
        return out

    def error(self, code: int, fault: Fault) -> Exception:
        """Return what compiled code said of a chunk, as an error with the file's name."""
        if code == NO_MEMORY:
            return MemoryError("no room for a chunk")
        if code == _NOT_READ:
            return InputError(f"{self.path}: {self.part} cannot be read: {os.strerror(fault.system)}")
        if code == _ENDS_EARLY:
            return damaged(self.path, self.part, "the file ends before its data")
        if code == _NOT_DECODED and self.chunks is not None:
            n_bytes = self.chunks.items * self.dtype.itemsize
            return damaged(self.path, self.part, f"chunk {fault.chunk} does not decode to {n_bytes:,} bytes")
        return InternalError(f"expected a known code of reading, found {code}")

    def _edge(self, number: int, per: int) -> NDArray[Any]:
        with self._lock:
            edge = self._edges.setdefault(number, _EdgeChunk())
            allowed = _EDGE_BYTES // (per * self.dtype.itemsize)
            while len(self._edges) > min(max(allowed, 2), _MAXIMUM_EDGES):
                self._edges.pop(next(iter(self._edges)))
        with edge.lock:
            if edge.values is None:
                values = np.empty(per, dtype=self.dtype)
                self._call(LIBRARY.crosslot_read_chunks, number, number + 1, values)
                edge.values = values
            return edge.values

    def _call(self, function: Any, start: int, stop: int, out: NDArray[Any]) -> None:  # noqa: ANN401 - a function of ctypes
        """Fill ``out`` with the chunks, or the items of one run, ``start..stop``."""
        fault = Fault()
        n = (stop - start) * (1 if self.chunks is None else self.chunks.items)
        code = int(function(byref(self.compiled), start, stop, address(out, self.dtype.type, [n]), byref(fault)))
        if code:
            raise self.error(code, fault)
