"""Loads the library that setup.py builds of the C files in this folder.

Rules:

1. Where the sources lie beside the library (a checkout), it must have been built from these very sources: others may
   lay their structures out otherwise.
2. The callers (``shared.atlas.compiled``; ``file_vectors``, ``stored_mapping`` and ``marker_kernel`` of
   ``site_agent.cells``) declare their functions, and hand over arrays that they did not make for the call only
   through ``address``, which checks what compiled code would trust.
3. ctypes releases the interpreter's lock around every call.
"""

import ctypes
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shared.errors import InternalError

NO_MEMORY: Final = -1
"""What a compiled function returns where it found no room."""

_HINT = "build it: make setup, or: pip install --no-deps --no-build-isolation --editable ."


def load(path: Path) -> ctypes.CDLL:
    """Return a library.

    Raises
    ------
    InternalError
        It is missing, was made for another platform, or is older than the sources beside it.
    """
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        message = f"expected the compiled library {path.name}, found none that loads: {error}"
        raise InternalError(message, hint=_HINT) from error
    library.crosslot_sources.restype = ctypes.c_char_p
    built_from = library.crosslot_sources().decode("ascii")
    sources = sorted(path.parent.glob("*.[ch]"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    if sources and built_from != digest:
        raise InternalError(f"{path.name} was not built from the sources beside it", hint=_HINT)
    return library


def address(array: NDArray[Any], dtype: type[np.generic], shape: Sequence[int]) -> int:
    """Return where an array lies.

    Raises
    ------
    InternalError
        It is not contiguous, or of another dtype or shape: compiled code would read beyond it.
    """
    fits = array.dtype == dtype and array.shape == tuple(shape)
    if not (fits and array.flags.c_contiguous and array.flags.aligned):
        raise InternalError(
            f"expected contiguous {np.dtype(dtype)} of shape {tuple(shape)}, found {array.dtype} of {array.shape}"
        )
    return array.ctypes.data


LIBRARY: Final = load(Path(__file__).with_suffix(".clib"))
