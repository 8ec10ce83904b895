"""Says that the first-ever run compiles, so that nobody takes the wait for a hang."""

from collections.abc import Callable
from pathlib import Path

from shared.atlas.compiled import map_rows

SENTENCE = "compiling the mapper for this machine: once, about half a minute"


def announce_compilation(notice: Callable[[str], None] | None) -> None:
    """Call ``notice`` if the kernel will have to be compiled; numba's cache is then empty or older than the code."""
    if notice is not None and not is_compiled():
        notice(SENTENCE)


def is_compiled() -> bool:
    """Return whether the kernel was compiled in this process, or lies in numba's cache."""
    if map_rows.signatures:
        return True
    source = Path(map_rows.py_func.__code__.co_filename)
    index = f"{source.stem}.{map_rows.py_func.__qualname__}-*.nbi"
    # numba stamps its index with the source's time of change and drops it when that differs.
    changed = source.stat().st_mtime
    return any(found.stat().st_mtime >= changed for found in Path(map_rows.stats.cache_path).glob(index))
