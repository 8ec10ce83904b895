"""What a cell file may ask of this machine, and how its damage is named.

A cell file may come from anywhere, so its declared sizes are claims. Whatever is allocated is first held against these
bounds, and whatever the reading libraries raise on damaged bytes becomes one named error.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import InputError

MAXIMUM_CELLS = 2**25
MAXIMUM_GENES = 2**21
MAXIMUM_CHUNK_BYTES = 64 * 2**20
MAXIMUM_TEXT_BYTES = 1_024
"""A gene's, cell's or category's name."""

MAXIMUM_CATEGORIES = 100_000
VALUES_PER_BLOCK = 250_000
"""2 MB of indices and values: large enough to hide a block's overhead, small enough for the processor's cache."""

# What h5py, zarr and the codecs were seen to raise on damaged bytes. MemoryError stands here because a lying size in
# a file asks for more memory than there is before a bound of ours can see it.
_DAMAGE = (
    OSError,
    KeyError,
    IndexError,
    RuntimeError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    EOFError,
    SystemError,
    NotImplementedError,
)


@contextmanager
def naming_damage(path: Path, part: str) -> Iterator[None]:
    """Turn whatever reading ``part`` of ``path`` raises into one named error.

    Raises
    ------
    InputError
        The part cannot be read. An error that is already named passes unchanged.
    """
    try:
        yield
    except InputError:
        raise
    except _DAMAGE as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise damaged(path, part, reason) from error


def damaged(path: Path, part: str, found: str) -> InputError:
    """Return the error of a part that is damaged."""
    return InputError(
        f"{path}: {part} is damaged: {found}",
        hint="copy the file again from its source and compare checksums; if it is the same, export it again",
    )


def check_shape(path: Path, part: str, n_cells: int, n_genes: int) -> None:
    """Raise unless a matrix has cells and genes, and no more than can be held.

    Raises
    ------
    InputError
        No cells, no genes, or more than the bounds.
    """
    if n_cells == 0 or n_genes == 0:
        raise InputError(f"{path}: {part} has {n_cells} cells and {n_genes} genes", hint="is it the right file?")
    if not (0 < n_cells <= MAXIMUM_CELLS and 0 < n_genes <= MAXIMUM_GENES):
        raise InputError(
            f"{path}: expected at most {MAXIMUM_CELLS:,} cells and {MAXIMUM_GENES:,} genes in {part}, "
            f"found {n_cells:,} and {n_genes:,}",
            hint="split the file by lot",
        )
