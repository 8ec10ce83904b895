"""How fast, and in how much memory, a lot is mapped: beside h5py's own read of the same file.

    python -m benchmarks.mapping_speed [--cells 10000,100000] [--storage gzip,uncompressed] [--repeats 3] [--others]

The lots are synthetic and made in a temporary folder: 33,538 genes and 3,042 stored values a cell on average, in chunks
of 15,210 values where they are compressed: about what h5py chooses by default (14,854 for 100,000 cells). Each
measurement is a process of its own; the methods take turns, and the best of the repeats counts, since other work on the
machine only ever adds time. Files lie in the page cache. ``map`` is the function, ``crosslot-site map`` the command as
a user starts it.

Columns: seconds of the process from start to end, and relative to h5py's sequential read; processor seconds of the
process and its children, which tell more where other work competes; peak resident memory, and after a + that of the
process beside it that reads a file's tables first. With ``--others`` scanpy's ingest (mended) and symphonypy run once
each: they hold the whole file. For 100,000 cells the aims are printed, as met by the clock and by processor seconds;
memory is compared over the numbers of cells asked for.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from benchmarks.mapping_lots import STORAGES, make_atlas, make_lot, make_reference, make_tile
from benchmarks.symphony import ROOT, SPEED, symphony_python

MEASURED: Final = Path(__file__).with_name("mapping_measured.py")

H5PY: Final = "h5py read"
COMMAND: Final = "crosslot-site map"
INGEST: Final = "ingest, mended"
SYMPHONY: Final = "symphonypy"
OTHERS: Final = (INGEST, SYMPHONY)
OURS: Final = (H5PY, "our read", "map", COMMAND, "first cell")

CELLS_OF_THE_AIMS: Final = 100_000
FIRST_CELL_SECONDS: Final = 1.5
CELLS_OF_MEMORY: Final = 1_000_000
MOST_MEMORY_MIB: Final = 300e6 / 2**20
AIMS: Final = {
    "gzip": ((H5PY, 0.30), ("our read", 1.3), (SYMPHONY, 1 / 10), (INGEST, 1 / 11)),
    "uncompressed": ((H5PY, 1.0), (SYMPHONY, 1 / 20), (INGEST, 1 / 20)),
}
"""The most that mapping may take, as a share of what another method takes."""

Taken = Mapping[str, float]  # process, cpu: seconds; seconds: without the interpreter's start; peak, beside: MiB


def measure(method: str, file: Path, atlas: Path, symphony: Path | None) -> dict[str, float]:
    """Run one method in a process of its own and return what it took."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(MEASURED), method, str(file), str(atlas)]
        if method == COMMAND:
            program = Path(sys.executable).with_name("crosslot-site")
            command = [str(program), "map", str(file), "--atlas", str(atlas), "--out", str(Path(folder) / "out")]
        elif method == SYMPHONY:
            reference = atlas.with_name("reference.h5ad")
            command = [str(symphony), "-c", SPEED, str(reference), str(file), str(atlas.with_name("labels.txt"))]
            environment = dict(os.environ)
        begin, used = time.perf_counter(), _seconds_of_children()
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)  # noqa: S603 - this very file, our own command, or our text
        seconds, cpu = time.perf_counter() - begin, _seconds_of_children() - used
    if done.returncode:
        raise RuntimeError(f"{method}: {done.stderr}")
    found: dict[str, float] = {} if method == COMMAND else json.loads(done.stdout.splitlines()[-1])
    return {**found, "process": seconds, "cpu": cpu}


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def compare(
    file: Path, atlas: Path, methods: list[str], repeats: int, symphony: Path | None
) -> dict[str, dict[str, float]]:
    """Print one table, and return the best of each method."""
    runs: dict[str, list[dict[str, float]]] = {method: [] for method in methods}
    file.read_bytes() if file.stat().st_size < 2**31 else None  # into the page cache
    for repeat in range(repeats):
        for method in methods:
            if repeat == 0 or method not in OTHERS:
                print(f"  {method}, {repeat + 1} of {repeats}", file=sys.stderr, flush=True)
                runs[method].append(measure(method, file, atlas, symphony))
    best = {m: {key: min(run[key] for run in found) for key in found[0]} for m, found in runs.items()}
    for method, found in best.items():
        ratio = found["process"] / best[H5PY]["process"]
        memory = f"{found['peak']:>8.0f} MiB" if "peak" in found else ""
        memory += f" + {found['beside']:.0f}" if found.get("beside") else ""
        print(
            f"  {method:<18}{found['process']:>9.2f} s{ratio:>8.2f} x h5py read"
            f"{found['cpu']:>9.2f} s processor{memory}",
            flush=True,
        )
    return best


def aim_lines(storage: str, best: Mapping[str, Taken]) -> list[str]:
    """Return for each aim that can be judged what was found, by the clock and by processor seconds."""
    lines = []
    for method, most in AIMS.get(storage, ()):
        if method in best:
            clock, cpu = (best["map"][key] / best[method][key] for key in ("process", "cpu"))
            aim = f"at most {most:.2f} of {method}" if most >= 0.2 else f"{1 / most:.0f} times {method}"
            found = f"{clock:.2f} ({cpu:.2f})" if most >= 0.2 else f"{1 / clock:.1f} ({1 / cpu:.1f})"
            lines.append(f"aim, {storage}: {aim}: {found}: {_verdict(clock <= most)} ({_verdict(cpu <= most)})")
    if "first cell" in best:
        seconds = best["first cell"]["process"]
        verdict = _verdict(seconds < FIRST_CELL_SECONDS)
        lines.append(f"aim, {storage}: first cell within {FIRST_CELL_SECONDS} s: {seconds:.2f}: {verdict}")
    return lines


def memory_lines(peaks: Mapping[tuple[str, int], float]) -> list[str]:
    """Return the curve of the mapping's memory over the number of cells, both processes together."""
    lines = []
    for storage in dict.fromkeys(storage for storage, _cells in peaks):
        curve = sorted((cells, peak) for (other, cells), peak in peaks.items() if other == storage)
        text = ", ".join(f"{cells:,} cells {peak:.0f} MiB" for cells, peak in curve)
        (fewest, low), (most, high) = curve[0], curve[-1]
        growth = f"; {(high - low) * 2**20 / (most - fewest):.0f} bytes a cell" if most > fewest else ""
        aim = _verdict(high <= MOST_MEMORY_MIB) if most >= CELLS_OF_MEMORY else "not asked for"
        lines.append(f"memory of map, {storage}: {text}{growth}; aim, 300 MB at a million cells: {aim}")
    return lines


def _verdict(holds: bool) -> str:  # noqa: FBT001 - a verdict is of one thing
    return "met" if holds else "NOT MET"


def main() -> None:
    """Make the lots, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", default="10000,100000", help="a million too, if asked for: 8 GB for a while")
    parser.add_argument("--storage", default="gzip,uncompressed", help=", ".join(STORAGES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--others", action="store_true", help="ingest and symphonypy too, which hold the whole file")
    arguments = parser.parse_args()
    symphony = symphony_python() if arguments.others else None
    if arguments.others and symphony is None:
        sys.exit("symphonypy could not be installed into .venv-bench: leave out --others to do without")
    methods = list(OURS)
    methods += list(OTHERS) if arguments.others else []
    aims: list[str] = []
    peaks: dict[tuple[str, int], float] = {}
    with tempfile.TemporaryDirectory(prefix="crosslot-speed-") as folder:
        tile = make_tile(seed=5)
        atlas = Path(folder) / "speed.atlas"
        make_atlas(atlas, tile)
        make_reference(atlas.with_name("reference.h5ad"), tile)
        for n_cells in (int(text) for text in arguments.cells.split(",")):
            for storage in arguments.storage.split(","):
                file = Path(folder) / "lot.h5ad"
                make_lot(file, tile, n_cells, STORAGES[storage])
                print(f"{n_cells:,} cells, {storage}, {file.stat().st_size / 2**20:,.0f} MiB, {os.cpu_count()} cores")
                best = compare(file, atlas, methods, arguments.repeats, symphony)
                file.unlink()
                aims += aim_lines(storage, best) if n_cells == CELLS_OF_THE_AIMS else []
                peaks[storage, n_cells] = best["map"]["peak"] + best["map"]["beside"]
    print(*aims, *memory_lines(peaks), sep="\n")


if __name__ == "__main__":
    main()
