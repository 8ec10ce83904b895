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
    """Return log(1 + x) for finite x >= 0 in IEEE operations only, to about 1 ulp.

    The polynomial of fdlibm's e_log.c (Sun Microsystems, 1993) on y = 1 + x, with the rounding of y corrected. The
    exponent is taken from the bits of y and nothing branches: a loop over many x becomes vector instructions.
    """
    y = 1.0 + x
    correction = (x - (y - 1.0)) / y
    bits = np.float64(y).view(np.int64)
    e = np.float64((bits >> 52) - 1022)
    m = np.int64((bits & 0x000FFFFFFFFFFFFF) | 0x3FE0000000000000).view(np.float64)
    is_low = m < 0.7071067811865476  # noqa: PLR2004 - sqrt(1/2)
    m = m + m if is_low else m
    e = e - 1.0 if is_low else e
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

    exp(x) = 2^k exp(r), |r| <= log(2) / 2, by the Taylor series to the 13th power (remainder below 5e-18). Nothing
    branches, as in ``log1p``.
    """
    held = max(x, -700.0)  # exp(-700) is 1e-304
    k = np.floor(held * 1.4426950408889634 + 0.5)
    r = (
        held - k * 0.693147180369123816490
    ) - k * 1.90821492927058770002e-10  # log 2 in two parts: k times the first is exact
    p = 1.0 / 479001600.0 + r * (1.0 / 6227020800.0)
    p = 1.0 / 3628800.0 + r * (1.0 / 39916800.0 + r * p)
    p = 1.0 / 40320.0 + r * (1.0 / 362880.0 + r * p)
    p = 1.0 / 720.0 + r * (1.0 / 5040.0 + r * p)
    p = 1.0 / 24.0 + r * (1.0 / 120.0 + r * p)
    p = 0.5 + r * (1.0 / 6.0 + r * p)
    p = 1.0 + (r + r * r * p)
    power = np.int64((np.int64(k) + 1023) << 52).view(np.float64)  # 2^k, never below the smallest normal number
    return p * power if x >= -700.0 else 0.0  # noqa: PLR2004 - as above


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

    One loop without a branch, which the compiler turns into vector instructions.
    """
    bad = np.int32(0)
    total = np.int64(0)
    nonzero = np.int32(0)
    for k in range(x.shape[0]):
        value = x[k]
        is_within = (value >= 0) & (value <= LARGEST_COUNT)
        # What lies outside int32 has no defined conversion to it.
        count = np.int32(value if is_within else x.dtype.type(0))
        is_whole = x.dtype.type(count) == value
        bad = np.int32(bad | np.int32(not (is_within & is_whole)))
        total += np.int64(count)
        nonzero += np.int32(count != 0)
    if bad:
        return _fault(x), 0, 0
    return 0, total, np.int64(nonzero)


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
def _matched(g: Array, has_slot: Array, hits: Array) -> Array:
    """Return the positions of the row's genes that have a slot; ``hits`` is room for them and one more.

    Each position is written where the next match goes, and only a match moves that place on: no branch to mispredict.
    """
    m = np.uint64(0)
    for k in range(g.shape[0]):
        hits[m] = k
        m += np.uint64(has_slot[np.uint64(g[k])])  # unsigned: the caller has checked the range
    return hits[: np.int64(m)]


@_compiled  # type: ignore[misc,untyped-decorator,unused-ignore] # numba ships no types
def _log_counts(scale: float, logs: Array) -> None:
    """Write the scaled log of each count from 0 up, on the grid."""
    for count in range(logs.shape[0]):
        logs[count] = np.floor(log1p(count * scale) * LOG_GRID + 0.5) * (1.0 / LOG_GRID)


@_compiled  # type: ignore[misc,untyped-decorator,unused-ignore] # numba ships no types
def _project(
    x: Array,
    g: Array,
    slots: Array,
    hits: Array,
    weights: Array,
    caps: Array,
    scale: float,
    logs: Array,
    rows: Array,
    values: Array,
    z: Array,
) -> float:
    """Add the matched genes to ``z`` and return their mitochondrial count.

    ``logs``, ``rows`` and ``values`` are room for the logarithms of small counts, for the atlas's genes of the row, and
    for their values.
    """
    _log_counts(scale, logs)
    mito, n = 0.0, np.uint64(0)
    for k in range(hits.shape[0]):
        hit = np.uint64(hits[k])
        slot = slots[np.uint64(g[hit])]
        count = np.int64(x[hit])
        if slot >= MITOCHONDRIAL:
            mito += count
            slot -= MITOCHONDRIAL
        row = np.uint64(slot - 1 if slot > 0 else 0)
        v = logs[np.uint64(min(int(count), _CACHED_COUNTS - 1))]
        if count >= _CACHED_COUNTS:
            v = np.floor(log1p(count * scale) * LOG_GRID + 0.5) * (1.0 / LOG_GRID)
        rows[n] = row
        values[n] = min(v, caps[row])
        n += np.uint64(slot > 0)
    for k in range(n, n + np.uint64(3)):  # up to a whole number of fours
        rows[k] = 0
        values[k] = 0.0
    for k in range(0, np.int64(n), 4):
        w0, w1, w2, w3 = weights[rows[k]], weights[rows[k + 1]], weights[rows[k + 2]], weights[rows[k + 3]]
        v0, v1, v2, v3 = values[k], values[k + 1], values[k + 2], values[k + 3]
        for j in range(z.shape[0]):
            z[j] += (v0 * w0[j] + v1 * w1[j]) + (v2 * w2[j] + v3 * w3[j])
    return mito


@_compiled  # type: ignore[misc,untyped-decorator,unused-ignore] # numba ships no types
def _sum_exp(logits: Array, highest: float, scale: float, terms: Array) -> float:
    """Return the sum of exp((logits - highest) scale); ``terms`` is room for its terms."""
    for c in range(logits.shape[0]):
        terms[c] = exp((logits[c] - highest) * scale)
    total = 0.0
    for c in range(logits.shape[0]):  # apart from the loop above, which is then vector instructions
        total += terms[c]
    return total


@_compiled  # type: ignore[misc,untyped-decorator,unused-ignore] # numba ships no types
def map_rows(  # noqa: C901, PLR0912, PLR0915 - one pass over the counts, each step a line of the module's docstring
    indptr: Array,
    indices: Array,
    data: Array,
    slots: Array,
    has_slot: Array,
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
    z, logits, terms, logs = np.empty(d), np.empty(C), np.empty(C), np.empty(_CACHED_COUNTS)
    longest = np.diff(indptr).max() if indptr.shape[0] > 1 else 0
    hits = np.empty(longest + 1, dtype=np.int32)
    rows, values = np.empty(longest + 4, dtype=np.uint64), np.empty(longest + 4)
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
            merged, genes, in_range = _merged(x, g, slots)
            if not in_range:
                return 5, i
            nonzero = np.int64(0)
            for k in range(merged.shape[0]):
                nonzero += np.int64(merged[k] != 0)
            found = _matched(genes, has_slot, hits)
            mito = _project(merged, genes, slots, found, weights, caps, scale, logs, rows, values, z)
        else:
            if g.shape[0] > 0 and (g[0] < 0 or g[g.shape[0] - 1] >= slots.shape[0]):
                return 5, i
            found = _matched(g, has_slot, hits)
            mito = _project(x, g, slots, found, weights, caps, scale, logs, rows, values, z)
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
        softened = _sum_exp(logits, logits[top], 1.0 / novelty_settings[0], terms)
        tempered = _sum_exp(logits, logits[top], inverse_temperature, terms)
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
