/* One cell to its cluster: the compiled part of shared/atlas/kernel.py, which states the rules. mapping.c calls.

   Rules.
   1. Every loop is bounded by the sizes that are given with the arrays; indices are checked before they are followed.
   2. Sums over genes are exact (weights and log counts lie on a grid), so their order is free, and instructions that
      add in another order give the same bits. Everything else is IEEE operations in the order written: compiled without
      contraction (-ffp-contract=off) and without any "fast" arithmetic.
   3. Nothing is kept between calls. */

#ifndef CROSSLOT_KERNEL_H
#define CROSSLOT_KERNEL_H

#include <stdlib.h>

#include "ieee.h"

enum { VALID, NOT_FINITE, NEGATIVE, NOT_INTEGER, TOO_LARGE, INDEX_OUT_OF_RANGE };

#define LARGEST_COUNT 2147483392.0 /* 2^31 - 256: fits int32, also after rounding to float */
#define LOG_GRID 262144.0          /* log counts are multiples of 2^-18 */
#define MITOCHONDRIAL (1 << 30)    /* set in a gene's slot: it counts as mitochondrial */
#define CACHED_COUNTS 64           /* log1p is looked up for counts below this */
#define CONFIDENCE_STEPS 10000.0

/* An atlas laid out for one file: shared.atlas.kernel.KernelTables. */
struct tables {
  const int32_t *slots;    /* (n_file_genes) 0, or atlas gene + 1, plus the mitochondrial bit */
  const uint8_t *has_slot; /* (n_file_genes) 1 where the slot is not 0 */
  const float *weights;    /* (n_genes, width), zero beyond the d-th */
  const double *offset;    /* (d) */
  const double *caps;      /* (n_genes) */
  const double *coefficients;    /* (d, n_clusters) */
  const double *intercepts;      /* (n_clusters) */
  const double *thresholds;      /* (n_clusters) */
  const double *means;           /* (n_clusters, d) */
  const double *inverse_spreads; /* (n_clusters, d) */
  int64_t n_file_genes, n_genes, d, width, n_clusters; /* width: d rounded up to a multiple of LANES */
  double inverse_temperature, target_sum;
  double novelty_temperature, energy_weight, distance_weight, even_odds;
};

/* What is said of each cell; latent is (n, d), or null. */
struct cells {
  int32_t *label, *best;
  float *confidence, *energy;
  double *total_counts, *mito_counts;
  int32_t *n_genes;
  float *latent;
};

/* log(1 + count scale) on the grid. No logarithm of a double reaches 2^31 steps of it, so truncation rounds down. */
INLINED double log_count(double count, double scale) {
  return (double)(int32_t)(log1p_of(count * scale) * LOG_GRID + 0.5) * (1.0 / LOG_GRID);
}

/* The code of the first value of a row that is no count. */
static int fault_of(double value) {
  if (!(value > -INFINITY && value < INFINITY)) return NOT_FINITE;
  if (value < 0.0) return NEGATIVE;
  if (value > LARGEST_COUNT) return TOO_LARGE;
  return value == floor(value) ? VALID : NOT_INTEGER;
}

/* Fill counts (n) from the values of a row; add up its counts, and how many are above 0. Returns the row's code.

   Loops without a branch, which the compiler turns into vector instructions of 32 bits: the sum is kept in two halves,
   each of which has room for SUMMED values. */
#define SUMMED 65536
#define COUNTING(NAME, REAL)                                                                            \
  INLINED int NAME(const REAL *x, int64_t n, int32_t *counts, int64_t *total, int64_t *nonzero) {       \
    int32_t bad = 0;                                                                                    \
    *total = *nonzero = 0;                                                                              \
    for (int64_t start = 0; start < n; start += SUMMED) {                                               \
      int64_t stop = start + SUMMED < n ? start + SUMMED : n;                                           \
      uint32_t low = 0, high = 0, zeros = 0;                                                            \
      for (int64_t k = start; k < stop; k++) {                                                          \
        REAL value = x[k];                                                                              \
        /* what lies outside int32 has no defined conversion to it */                                   \
        int is_within = (value >= 0) & (value <= (REAL)LARGEST_COUNT);                                  \
        int32_t count = (int32_t)(is_within ? value : (REAL)0);                                         \
        bad |= (REAL)count != value;                                                                    \
        low += (uint32_t)count & 0xFFFF;                                                                \
        high += (uint32_t)count >> 16;                                                                  \
        zeros += count == 0;                                                                            \
        counts[k] = count;                                                                              \
      }                                                                                                 \
      *total += (int64_t)low + ((int64_t)high << 16);                                                   \
      *nonzero += stop - start - zeros;                                                                 \
    }                                                                                                   \
    for (int64_t k = 0; bad && k < n; k++) {                                                            \
      int fault = fault_of((double)x[k]);                                                               \
      if (fault) return fault;                                                                          \
    }                                                                                                   \
    return VALID;                                                                                       \
  }
COUNTING(counted_float, float)
COUNTING(counted_double, double)

/* Whether the genes of a row do not rise strictly. */
INLINED int falls(const int32_t *genes, int64_t n) {
  int32_t back = 0;
  for (int64_t k = 0; k + 1 < n; k++) back |= genes[k + 1] <= genes[k];
  return back;
}

/* The genes of one cell that are in the atlas: their rows of the weights, and their log counts. */
struct found {
  uint32_t *rows;
  double *values;
  int64_t n;
  double mito;
};

/* Note one gene. Room for one more than there are genes is written to. */
INLINED void note(const struct tables *t, int32_t slot, int64_t count, double scale, const double *logs,
                  struct found *found) {
  if (slot >= MITOCHONDRIAL) {
    found->mito += (double)count;
    slot -= MITOCHONDRIAL;
  }
  uint32_t row = slot > 0 ? (uint32_t)slot - 1 : 0;
  double v = logs[count < CACHED_COUNTS ? count : CACHED_COUNTS - 1];
  if (count >= CACHED_COUNTS) v = log_count((double)count, scale);
  found->rows[found->n] = row;
  found->values[found->n] = v < t->caps[row] ? v : t->caps[row];
  found->n += slot > 0;
}

/* Note the genes of a row that rises: its first and last gene bound the others. */
INLINED int note_rising(const struct tables *t, const int32_t *genes, const int32_t *counts, int64_t n, double scale,
                        const double *logs, int32_t *hits, struct found *found) {
  if (n > 0 && (genes[0] < 0 || genes[n - 1] >= t->n_file_genes)) return INDEX_OUT_OF_RANGE;
  /* Each position is written where the next match goes, and only a match moves that place on: nothing to mispredict. */
  int64_t m = 0;
  const uint8_t *has_slot = t->has_slot;
  for (int64_t k = 0; k < n; k++) {
    hits[m] = (int32_t)k;
    m += has_slot[(uint32_t)genes[k]];
  }
  for (int64_t k = 0; k < m; k++) note(t, t->slots[genes[hits[k]]], counts[hits[k]], scale, logs, found);
  return VALID;
}

/* Note the genes of any other row: the counts of a gene that it names twice are added first. sums (n_file_genes) is zero
   before and after. */
static int note_any(const struct tables *t, const int32_t *genes, const int32_t *counts, int64_t n, double scale,
                    const double *logs, int64_t *sums, int32_t *hits, int64_t *nonzero, struct found *found) {
  int64_t m = 0, present = 0;
  for (int64_t k = 0; k < n; k++)
    if (genes[k] < 0 || genes[k] >= t->n_file_genes) return INDEX_OUT_OF_RANGE;
  for (int64_t k = 0; k < n; k++) {
    if (counts[k] == 0) continue;
    if (sums[genes[k]] == 0) hits[m++] = genes[k]; /* counts are never negative: the sum stays above 0 */
    sums[genes[k]] += counts[k];
  }
  for (int64_t k = 0; k < m; k++, present++) {
    if (t->slots[hits[k]]) note(t, t->slots[hits[k]], sums[hits[k]], scale, logs, found);
    sums[hits[k]] = 0;
  }
  *nonzero = present;
  return VALID;
}

/* The sum of the found genes' weights times their log counts, for BLOCK vectors of LANES dimensions. Sums are exact: those
   of even and odd genes are kept apart, so that one need not wait for the other. */
#define ADDING(NAME, TARGET, DOUBLES, LANES, BLOCK, LOAD)                                             \
  TARGET void NAME(const float *weights, int64_t width, const struct found *found, double *z) {      \
    DOUBLES even[BLOCK] = {{0}}, odd[BLOCK] = {{0}};                                                  \
    for (int64_t k = 0; k < found->n; k += 2) {                                                       \
      const float *w0 = weights + found->rows[k] * width, *w1 = weights + found->rows[k + 1] * width; \
      double v0 = found->values[k], v1 = found->values[k + 1];                                        \
      for (int b = 0; b < BLOCK; b++) {                                                               \
        even[b] += v0 * LOAD(w0 + b * LANES);                                                         \
        odd[b] += v1 * LOAD(w1 + b * LANES);                                                          \
      }                                                                                               \
    }                                                                                                 \
    for (int b = 0; b < BLOCK; b++) {                                                                 \
      DOUBLES sum;                                                                                    \
      memcpy(&sum, z + b * LANES, sizeof sum);                                                        \
      sum += even[b] + odd[b];                                                                        \
      memcpy(z + b * LANES, &sum, sizeof sum);                                                        \
    }                                                                                                 \
  }

typedef double two_doubles __attribute__((vector_size(2 * sizeof(double))));
#define LOAD_2(at) ((two_doubles){(double)(at)[0], (double)(at)[1]})
ADDING(add_2_by_4, INLINED, two_doubles, 2, 4, LOAD_2)
ADDING(add_2_by_2, INLINED, two_doubles, 2, 2, LOAD_2)

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define LOAD_4(at) _mm256_cvtps_pd(_mm_loadu_ps(at))
#define WITH_AVX2 __attribute__((target("avx2"))) static inline
ADDING(add_4_by_6, WITH_AVX2, __m256d, 4, 6, LOAD_4)
ADDING(add_4_by_4, WITH_AVX2, __m256d, 4, 4, LOAD_4)
ADDING(add_4_by_2, WITH_AVX2, __m256d, 4, 2, LOAD_4)
ADDING(add_4_by_1, WITH_AVX2, __m256d, 4, 1, LOAD_4)

/* Add the found genes to the first dimensions of z (width), of which there is an even number; return how many. */
WITH_AVX2 int64_t project_widely(const struct tables *t, const struct found *found, double *z) {
  int64_t at = 0;
  for (; at + 24 <= t->width; at += 24) add_4_by_6(t->weights + at, t->width, found, z + at);
  for (; at + 16 <= t->width; at += 16) add_4_by_4(t->weights + at, t->width, found, z + at);
  for (; at + 8 <= t->width; at += 8) add_4_by_2(t->weights + at, t->width, found, z + at);
  for (; at + 4 <= t->width; at += 4) add_4_by_1(t->weights + at, t->width, found, z + at);
  return at;
}
#else
#define project_widely(t, found, z) 0
#endif

/* Add the found genes to z (width, a multiple of 4), of which there is an even number. */
INLINED void project(const struct tables *t, const struct found *found, double *z, int is_wide) {
  int64_t at = is_wide ? project_widely(t, found, z) : 0;
  for (; at + 8 <= t->width; at += 8) add_2_by_4(t->weights + at, t->width, found, z + at);
  for (; at + 4 <= t->width; at += 4) add_2_by_2(t->weights + at, t->width, found, z + at);
}

/* The sum of exp((logits - highest) scale); terms (n) is room for its terms. */
INLINED double sum_exp(const double *logits, int64_t n, double highest, double scale, double *terms) {
  for (int64_t c = 0; c < n; c++) terms[c] = exp_of((logits[c] - highest) * scale);
  double total = 0.0;
  for (int64_t c = 0; c < n; c++) total += terms[c]; /* apart from the loop above, which is then vector instructions */
  return total;
}

/* Say of one cell where its latent point z (d) lies; z holds the projection, and logits and terms (n_clusters) are room. */
INLINED void classify(const struct tables *t, int64_t i, int64_t total, double *z, double *logits, double *terms,
                      const struct cells *out) {
  const int64_t d = t->d, C = t->n_clusters;
  double square = 0.0;
  for (int64_t j = 0; j < d; j++) square += z[j] * z[j];
  double stretch = square > 0.0 ? sqrt((double)d) / sqrt(square) : 0.0;
  for (int64_t c = 0; c < C; c++) logits[c] = t->intercepts[c];
  for (int64_t j = 0; j < d; j++) {
    z[j] *= stretch;
    const double *coefficients = t->coefficients + j * C;
    for (int64_t c = 0; c < C; c++) logits[c] += z[j] * coefficients[c];
    if (out->latent) out->latent[i * d + j] = total > 0 ? (float)z[j] : 0.0f;
  }
  if (total == 0) {
    out->label[i] = out->best[i] = -1;
    out->confidence[i] = 0.0f;
    out->energy[i] = INFINITY;
    return;
  }
  int64_t top = 0;
  for (int64_t c = 1; c < C; c++)
    if (logits[c] > logits[top]) top = c;
  double softened = sum_exp(logits, C, logits[top], 1.0 / t->novelty_temperature, terms);
  double tempered = sum_exp(logits, C, logits[top], t->inverse_temperature, terms);
  double distance = 0.0;
  for (int64_t j = 0; j < d; j++) {
    double deviation = (z[j] - t->means[top * d + j]) * t->inverse_spreads[top * d + j];
    distance += deviation * deviation;
  }
  double free_energy = -(logits[top] + t->novelty_temperature * log1p_of(softened - 1.0));
  float novelty = (float)(t->energy_weight * free_energy + t->distance_weight * (distance / (double)d));
  double certainty = floor(CONFIDENCE_STEPS / tempered + 0.5) / CONFIDENCE_STEPS;
  int is_unassigned = (double)novelty > t->thresholds[top] && certainty < t->even_odds;
  out->best[i] = (int32_t)top;
  out->label[i] = is_unassigned ? -1 : (int32_t)top;
  out->confidence[i] = (float)certainty;
  out->energy[i] = novelty;
}

/* Room for the longest row and one cell, taken once a block. */
struct room {
  int64_t *sums;   /* (n_file_genes), made for the first row that does not rise */
  double *values;  /* (longest + 1); the others but sums lie behind it */
  double *z;       /* (width) */
  double *logits, *terms; /* (n_clusters) */
  int32_t *counts; /* (longest) */
  int32_t *hits;   /* (longest + 1) */
  uint32_t *rows;  /* (longest + 1) */
};

/* Take room; return 0 or NO_MEMORY. Give it back either way. */
static int open_kernel_room(struct room *room, const struct tables *t, int64_t longest) {
  size_t n = (size_t)longest + 1, wide = sizeof(double), narrow = sizeof(int32_t);
  size_t doubles_needed = n + (size_t)t->width + 2 * (size_t)t->n_clusters;
  char *memory = malloc(doubles_needed * wide + 3 * n * narrow);
  memset(room, 0, sizeof *room);
  if (memory == NULL) return NO_MEMORY;
  room->values = (double *)memory;
  room->z = room->values + n;
  room->logits = room->z + t->width;
  room->terms = room->logits + t->n_clusters;
  room->counts = (int32_t *)(memory + doubles_needed * wide);
  room->hits = room->counts + n;
  room->rows = (uint32_t *)(room->hits + n);
  return 0;
}

static void close_kernel_room(struct room *room) {
  free(room->sums);
  free(room->values);
}

static int64_t longest_row(const int64_t *indptr, int64_t start, int64_t stop) {
  int64_t longest = 0;
  for (int64_t i = start; i < stop; i++) longest = indptr[i + 1] - indptr[i] > longest ? indptr[i + 1] - indptr[i] : longest;
  return longest;
}

/* Map a row of n genes and their counts, floats or doubles, to the cell i of out; return its code. */
INLINED int map_row(const struct tables *t, const int32_t *genes, const void *stored, int is_double, int64_t n,
                    int64_t i, struct room *room, const struct cells *out, int is_wide) {
  int64_t total, nonzero;
  int code = is_double ? counted_double(stored, n, room->counts, &total, &nonzero)
                       : counted_float(stored, n, room->counts, &total, &nonzero);
  if (code) return code;
  double scale = total > 0 ? t->target_sum / (double)total : 0.0, logs[CACHED_COUNTS];
  for (int count = 0; count < CACHED_COUNTS; count++) logs[count] = log_count((double)count, scale);
  struct found found = {room->rows, room->values, 0, 0.0};
  if (falls(genes, n)) {
    if (room->sums == NULL) room->sums = calloc((size_t)t->n_file_genes + 1, sizeof *room->sums);
    if (room->sums == NULL) return NO_MEMORY;
    code = note_any(t, genes, room->counts, n, scale, logs, room->sums, room->hits, &nonzero, &found);
  } else {
    code = note_rising(t, genes, room->counts, n, scale, logs, room->hits, &found);
  }
  if (code) return code;
  double *z = room->z;
  memset(z, 0, (size_t)t->width * sizeof *z);
  for (int64_t j = 0; j < t->d; j++) z[j] = -t->offset[j];
  if (found.n % 2) { /* up to an even number */
    found.rows[found.n] = 0;
    found.values[found.n++] = 0.0;
  }
  project(t, &found, z, is_wide);
  out->total_counts[i] = (double)total;
  out->n_genes[i] = (int32_t)nonzero;
  out->mito_counts[i] = found.mito;
  classify(t, i, total, z, room->logits, room->terms, out);
  return VALID;
}

#endif
