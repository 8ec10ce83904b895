"""The compiled library: the one that belongs to its sources is loaded, any other is named.

Once under sanitizers: CFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover" python setup.py build_ext
--inplace --force, then the tests of this folder, of test_compiled.py, test_kernel.py, test_file_vectors.py,
test_stored_mapping.py, test_hostile_files.py and test_marker_moments.py with libasan preloaded and
ASAN_OPTIONS=detect_leaks=0.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import InternalError
from shared.native import library
from shared.native.library import address, load

FOLDER = Path(library.__file__).parent


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    for path in FOLDER.glob("*.[chl]*"):
        shutil.copy(path, tmp_path)
    return tmp_path / "library.clib"


def test_a_library_beside_its_own_sources_is_loaded(copied: Path) -> None:
    assert load(copied).crosslot_widest() in {0, 1}


def test_a_library_without_sources_is_loaded(copied: Path) -> None:
    for source in copied.parent.glob("*.[ch]"):
        source.unlink()
    assert load(copied).crosslot_widest() in {0, 1}


@pytest.mark.parametrize("name", ["mapping.c", "ieee.h"])
def test_a_library_older_than_a_source_is_refused(copied: Path, name: str) -> None:
    with copied.with_name(name).open("a", encoding="utf-8") as source:
        source.write("\n")
    with pytest.raises(InternalError, match="not built from") as refused:
        load(copied)
    assert "make setup" in (refused.value.hint or "")


@pytest.mark.parametrize("content", [None, b"", b"\x7fELF and no more"])
def test_a_missing_or_broken_library_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "absent.clib"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InternalError, match=r"absent\.clib") as refused:
        load(path)
    assert "make setup" in (refused.value.hint or "")


@pytest.mark.parametrize(
    "array", [np.zeros(4, np.float32), np.zeros(8)[::2], np.zeros((2, 2)), np.zeros(33, np.uint8)[1:].view(np.float64)]
)
def test_an_array_that_compiled_code_would_misread_is_refused(array: NDArray[Any]) -> None:
    with pytest.raises(InternalError, match="expected contiguous float64"):
        address(array, np.float64, [4])
