"""lzf and shuffle, undone: right for what was encoded, and within bounds for whatever else."""

from ctypes import c_int64, c_void_p

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.native.library import LIBRARY, address

LIBRARY.crosslot_lzf_decode.argtypes = [c_void_p, c_int64, c_void_p, c_int64]
LIBRARY.crosslot_lzf_decode.restype = c_int64
LIBRARY.crosslot_unshuffle.argtypes = [c_void_p, c_void_p, c_int64, c_int64]
LIBRARY.crosslot_unshuffle.restype = None

GUARD = 64


def run_of(array: NDArray[np.uint8]) -> tuple[int, int]:
    return address(array, np.uint8, [array.size]), array.size


def lzf_decode(source: NDArray[np.uint8], target: NDArray[np.uint8]) -> int:
    return int(LIBRARY.crosslot_lzf_decode(*run_of(source), *run_of(target)))


def unshuffle(source: NDArray[np.uint8], target: NDArray[np.uint8], item_bytes: int) -> None:
    assert source.size == target.size
    LIBRARY.crosslot_unshuffle(run_of(source)[0], *run_of(target), item_bytes)


def bytes_of(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, dtype=np.uint8).copy()


def encoded(content: bytes) -> bytes:
    """Return an lzf stream of runs and literals."""
    out, at = bytearray(), 0
    while at < len(content):
        run = 1
        while at > 0 and at + run < len(content) and content[at + run] == content[at - 1] and run < 200:
            run += 1
        if at > 0 and content[at] == content[at - 1] and run >= 3:
            out += bytes([(run - 2) << 5, 0]) if run - 2 < 7 else bytes([7 << 5, run - 9, 0])
            at += run
        else:
            piece = content[at : at + 3]
            out += bytes([len(piece) - 1]) + piece
            at += len(piece)
    return bytes(out)


@settings(max_examples=200)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 300)), min_size=1, max_size=20))
def test_lzf_gives_back_what_was_encoded(runs: list[tuple[int, int]]) -> None:
    content = b"".join(bytes([value]) * n for value, n in runs)
    target = np.empty(len(content), dtype=np.uint8)
    assert lzf_decode(bytes_of(encoded(content)), target) == len(content)
    assert target.tobytes() == content


@settings(max_examples=400)
@given(stream=st.binary(max_size=200), room=st.integers(0, 300))
def test_no_stream_writes_beyond_its_target(stream: bytes, room: int) -> None:
    memory = np.full(room + 2 * GUARD, 0xA5, dtype=np.uint8)
    written = lzf_decode(bytes_of(stream), memory[GUARD : GUARD + room])
    assert -1 <= written <= room
    assert (memory[:GUARD] == 0xA5).all()
    assert (memory[GUARD + room :] == 0xA5).all()


@settings(max_examples=200)
@given(content=st.binary(max_size=200), item_bytes=st.integers(1, 16))
def test_unshuffle_is_the_transpose_of_whole_items(content: bytes, item_bytes: int) -> None:
    n_items = len(content) // item_bytes
    whole = n_items * item_bytes
    expected = bytes_of(content)
    expected[:whole] = bytes_of(content[:whole]).reshape(item_bytes, n_items).T.ravel()
    target = np.empty(len(content), dtype=np.uint8)
    unshuffle(bytes_of(content), target, item_bytes)
    assert target.tobytes() == expected.tobytes()


def test_items_without_a_byte_leave_the_target_alone() -> None:
    target = np.full(8, 0xA5, dtype=np.uint8)
    for item_bytes in (0, -1):
        unshuffle(np.zeros(8, np.uint8), target, item_bytes)
    assert (target == 0xA5).all()
