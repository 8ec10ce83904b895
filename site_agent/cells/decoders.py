"""Chunk filters of HDF5, undone outside the HDF5 library so that threads can share the work.

Rules:

1. Output is exactly as long as the chunk declares; a decoder that would give more or less raises ``ValueError``. No
   decoder allocates more than the declared size, whatever the compressed bytes say.
2. Every decoder releases the interpreter's lock while it works (libdeflate, Arrow's zstd, our own in C).
3. A pipeline with any other filter has no decoder here: the caller falls back to the HDF5 library, which is slower and
   as right.

Sources: HDF5 File Format Specification 3.0, IV.A.2.l (filter pipeline message); LibLZF 3.6, ``lzf_d.c`` (format).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

DEFLATE, SHUFFLE, LZF, ZSTD = 1, 2, 32_000, 32_015

Bytes = bytes | bytearray | NDArray[np.uint8]
Step = Callable[[Bytes, int, int], Bytes]
"""(stored bytes, bytes expected, bytes an item) -> exactly the bytes expected."""


def decoding_steps(filter_codes: Sequence[int]) -> tuple[Step, ...] | None:
    """Return one decoder for each filter of a pipeline, in the pipeline's order, or None if one is unknown."""
    makers: dict[int, Callable[[], Step]] = {DEFLATE: _deflate, SHUFFLE: _shuffle, LZF: _lzf, ZSTD: _zstd}
    if any(code not in makers for code in filter_codes) or list(filter_codes).count(SHUFFLE) > 1:
        return None
    return tuple(makers[code]() for code in filter_codes)


def decode_chunk(stored: Bytes, steps: Sequence[Step], skipped: int, n_bytes: int, item_bytes: int) -> Bytes:
    """Return a chunk's bytes.

    Parameters
    ----------
    stored : bytes
        As they lie in the file.
    steps : sequence of Step
        In the order in which the filters were applied; undone from the last to the first.
    skipped : int
        The chunk's filter mask: bit i set means that filter i was not applied.
    n_bytes, item_bytes : int
        Of the whole chunk and of one item.

    Raises
    ------
    ValueError
        The bytes do not decode to exactly ``n_bytes``.
    """
    for position in reversed(range(len(steps))):
        if not skipped >> position & 1:
            stored = steps[position](stored, n_bytes, item_bytes)
    if len(stored) != n_bytes:
        raise ValueError(f"a chunk declares {n_bytes} bytes and holds {len(stored)}")
    return stored


def _deflate() -> Step:
    import deflate  # noqa: PLC0415 - loaded for the files that need it

    def step(stored: Bytes, n_bytes: int, _item_bytes: int) -> Bytes:
        try:
            # The bound is the size of the buffer that libdeflate fills, so a longer stream fails.
            plain: bytearray = deflate.zlib_decompress(stored, n_bytes)
        except deflate.DeflateError as error:
            raise ValueError(f"a gzip chunk of {n_bytes} bytes does not decode: {error}") from error
        return plain

    return step


def _zstd() -> Step:
    import pyarrow as pa  # noqa: PLC0415 - loaded for the files that need it

    codec = pa.Codec("zstd")

    def step(stored: Bytes, n_bytes: int, _item_bytes: int) -> Bytes:
        try:
            plain = codec.decompress(pa.py_buffer(stored), decompressed_size=n_bytes)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"a zstd chunk of {n_bytes} bytes does not decode: {error}") from error
        return np.frombuffer(plain, dtype=np.uint8)

    return step


def _lzf() -> Step:
    from site_agent.cells.byte_kernels import lzf_decode  # noqa: PLC0415 - for the files that need it

    return _filling(lzf_decode, "an lzf")


def _filling(kernel: Callable[[NDArray[np.uint8], NDArray[np.uint8]], int], name: str) -> Step:
    def step(stored: Bytes, n_bytes: int, _item_bytes: int) -> Bytes:
        plain = np.empty(n_bytes, dtype=np.uint8)
        written = kernel(np.frombuffer(stored, dtype=np.uint8), plain)
        if written != n_bytes:
            raise ValueError(f"{name} chunk of {n_bytes} bytes does not decode")
        return plain

    return step


def _shuffle() -> Step:
    from site_agent.cells.byte_kernels import unshuffle  # noqa: PLC0415 - for the files that need it

    def step(stored: Bytes, n_bytes: int, item_bytes: int) -> Bytes:
        if len(stored) != n_bytes:
            raise ValueError(f"a chunk declares {n_bytes} bytes and holds {len(stored)}")
        if item_bytes == 1:
            return stored
        plain = np.empty(n_bytes, dtype=np.uint8)
        unshuffle(np.frombuffer(stored, dtype=np.uint8), plain, item_bytes)
        return plain

    return step
