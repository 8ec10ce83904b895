"""The compiled part of the kernel. ``shared.atlas.kernel`` states its rules and is the only caller.

One file, because numba's cache looks at the file of the outermost function only: a change to a function elsewhere would
go unseen.
"""

import math
from typing import Any, Final

import numba
import numpy as np

LARGEST_COUNT: Final = 2**31 - 256  # fits int32, also after rounding to float32
LOG_GRID: Final = 2.0**18  # log counts are multiples of 2^-18
MITOCHONDRIAL: Final = 1 << 30  # set in a gene's slot: it counts as mitochondrial
_CACHED_COUNTS: Final = 64  # log1p is looked up for counts below this
_CONFIDENCE_STEPS: Final = 10_000.0

Array = Any  # numba sees the dtype: each is compiled for itself

_compiled = numba.njit(nogil=True, cache=True, error_model="numpy")


@_compiled  # type: ignore[misc,untyped-decorator,unused-ignore] # numba ships no types
def log1p(x: float) -> float:
    """Return log(1 + x) for x >= 0 in IEEE operations only, to about 1 ulp.

    The polynomial of fdlibm's e_log.c (Sun Microsystems, 1993) on y = 1 + x, with the rounding of y corrected.
    """
    y = 1.0 + x
    correction = (x - (y - 1.0)) / y
    m, e = math.frexp(y)
    if m < 0.7071067811865476:  # noqa: PLR2004 - sqrt(1/2)
        m *= 2.0
        e -= 1
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    p = 0.1531383769920937332 + z * 0.1479819860511658591
    p = 0.2222219843214978396 + z * (0.1818357216161805012 + z * p)
    p = z * (0.6666666666666735130 + z * (0.3999999999940941908 + z * (0.2857142874366239149 + z * p)))
    return e * 0.6931471805599453 + (f - s * (f - p)) + correction


@_compiled  # type: ignore[misc,untyped-decorator,unused-ignore] # numba ships no types
def exp(x: float) -> float:
    """Return exp(x) for x <= 0 in IEEE operations only, to about 1 ulp; 0 below -700.

    exp(x) = 2^k exp(r), |r| <= log(2) / 2, by the Taylor series to the 13th power (remainder below 5e-18).
    """
    if not x >= -700.0:  # noqa: PLR2004 - exp(-700) is 1e-304
        return 0.0
    k = math.floor(x * 1.4426950408889634 + 0.5)
    r = (
        x - k * 0.693147180369123816490
    ) - k * 1.90821492927058770002e-10  # log 2 in two parts: k times the first is exact
    p = 1.0
    for i in range(13, 0, -1):
        p = 1.0 + p * r / i
    return math.ldexp(p, int(k))


@_compiled  # type: ignore[misc,untyped-decorator,unused-ignore] # numba ships no types
def _fault(x: Array) -> int:
    """Return the code of the first value of a row that is no count."""
    for k in range(x.shape[0]):
        v = float(x[k])
        if not -math.inf < v < math.inf:
            return 1
        if v < 0.0:
            return 2
        if v > LARGEST_COUNT:
            return 4
        if v != math.floor(v):
            return 3
    return 0


@_compiled  # type: ignore[misc,untyped-decorator,unused-ignore] # numba ships no types
def _counted(x: Array) -> tuple[int, Array, Array]:
    """Return a row's code, the sum of its counts and how many are above 0.

    Loops of one idea each, which the compiler turns into vector instructions.
    """
    bad = np.int32(0)
    for k in range(x.shape[0]):
        bad = np.int32(bad | np.int32(not ((x[k] >= 0) & (x[k] <= LARGEST_COUNT))))
    if bad:
        return _fault(x), 0, 0
    for k in range(x.shape[0]):
        bad = np.int32(bad | np.int32(np.int32(x[k]) != x[k]))
    if bad:
        return _fault(x), 0, 0
    total = np.int64(0)
    for k in range(x.shape[0]):
        total += np.int64(np.int32(x[k]))
    nonzero = np.int64(0)
    for k in range(x.shape[0]):
        nonzero += np.int64(x[k] != 0)
    return 0, total, nonzero


@_compiled  # type: ignore[misc,untyped-decorator,unused-ignore] # numba ships no types
def _merged(x: Array, g: Array, slots: Array) -> tuple[Array, Array, bool]:
    """Return a row with every gene once, its counts added, sorted by gene; and whether all genes are in range."""
    order = np.argsort(g, kind="mergesort")
    counts, genes = np.empty(len(x), dtype=np.float64), np.empty(len(x), dtype=np.int64)
    m = 0
    for k in order:
        if g[k] < 0 or g[k] >= len(slots):
            return counts[:0], genes[:0], False
        if m > 0 and genes[m - 1] == g[k]:
            counts[m - 1] += x[k]
        else:
            counts[m] = x[k]
            genes[m] = g[k]
            m += 1
    return counts[:m], genes[:m], True


@_compiled  # type: ignore[misc,untyped-decorator,unused-ignore] # numba ships no types
def _project(
    x: Array, g: Array, slots: Array, weights: Array, caps: Array, scale: float, logs: Array, z: Array
) -> float:
    """Add the row's genes to ``z`` and return its mitochondrial count; ``logs`` is room for looked-up logarithms."""
    d = z.shape[0]
    mito = 0.0
    logs[:] = -1.0
    for k in range(x.shape[0]):
        slot = slots[g[k]]
        if slot == 0:
            continue
        if slot >= MITOCHONDRIAL:
            mito += x[k]
            slot -= MITOCHONDRIAL
            if slot == 0:
                continue
        h = slot - 1
        count = np.int64(x[k])
        if count < _CACHED_COUNTS:
            v = logs[count]
            if v < 0.0:
                v = math.floor(log1p(count * scale) * LOG_GRID + 0.5) / LOG_GRID
                logs[count] = v
        else:
            v = math.floor(log1p(count * scale) * LOG_GRID + 0.5) / LOG_GRID
        v = min(v, caps[h])
        for j in range(d):
            z[j] += v * weights[h, j]
    return mito


@_compiled  # type: ignore[misc,untyped-decorator,unused-ignore] # numba ships no types
def map_rows(  # noqa: C901, PLR0912 - one pass over the counts, each step a line of the module's docstring
    indptr: Array,
    indices: Array,
    data: Array,
    slots: Array,
    weights: Array,
    offset: Array,
    caps: Array,
    coefficients: Array,
    intercepts: Array,
    thresholds: Array,
    means: Array,
    inverse_spreads: Array,
    novelty_settings: Array,
    inverse_temperature: float,
    target_sum: float,
    label: Array,
    best: Array,
    confidence: Array,
    energy: Array,
    total_counts: Array,
    n_genes: Array,
    mito_counts: Array,
    latent: Array,
) -> tuple[int, int]:
    """Fill the output arrays row by row; return the code of the first row that is no row of counts, and that row."""
    d, C = coefficients.shape
    z, logits, logs = np.empty(d), np.empty(C), np.empty(_CACHED_COUNTS)
    for i in range(indptr.shape[0] - 1):
        start, stop = indptr[i] - indptr[0], indptr[i + 1] - indptr[0]
        x, g = data[start:stop], indices[start:stop]
        code, total, nonzero = _counted(x)
        if code:
            return code, i
        back = np.int32(0)
        for k in range(g.shape[0] - 1):
            back = np.int32(back | np.int32(g[k + 1] <= g[k]))
        scale = target_sum / total if total > 0 else 0.0
        for j in range(d):
            z[j] = -offset[j]
        if back:
            counts, genes, in_range = _merged(x, g, slots)
            if not in_range:
                return 5, i
            nonzero = np.int64(0)
            for k in range(counts.shape[0]):
                nonzero += np.int64(counts[k] != 0)
            mito = _project(counts, genes, slots, weights, caps, scale, logs, z)
        else:
            if g.shape[0] > 0 and (g[0] < 0 or g[g.shape[0] - 1] >= slots.shape[0]):
                return 5, i
            mito = _project(x, g, slots, weights, caps, scale, logs, z)
        total_counts[i], n_genes[i], mito_counts[i] = total, nonzero, mito
        square = 0.0
        for j in range(d):
            square += z[j] * z[j]
        stretch = math.sqrt(d) / math.sqrt(square) if square > 0.0 else 0.0
        for c in range(C):
            logits[c] = intercepts[c]
        for j in range(d):
            z[j] *= stretch
            for c in range(C):
                logits[c] += z[j] * coefficients[j, c]
            if latent.shape[0] > 0:
                latent[i, j] = z[j] if total > 0 else 0.0
        top = 0
        for c in range(1, C):
            if logits[c] > logits[top]:
                top = c
        softened, tempered = 0.0, 0.0
        for c in range(C):
            softened += exp((logits[c] - logits[top]) / novelty_settings[0])
            tempered += exp((logits[c] - logits[top]) * inverse_temperature)
        distance = 0.0
        for j in range(d):
            deviation = (z[j] - means[top, j]) * inverse_spreads[top, j]
            distance += deviation * deviation
        if total == 0:
            label[i], best[i], confidence[i], energy[i] = -1, -1, 0.0, math.inf
            continue
        free_energy = -(logits[top] + novelty_settings[0] * log1p(softened - 1.0))
        novelty = np.float32(novelty_settings[1] * free_energy + novelty_settings[2] * (distance / d))
        best[i], energy[i] = top, novelty
        certainty = math.floor(_CONFIDENCE_STEPS / tempered + 0.5) / _CONFIDENCE_STEPS
        confidence[i] = certainty
        label[i] = -1 if novelty > thresholds[top] and certainty < novelty_settings[3] else top
    return 0, -1
