/* Adds cells to sums of integers: the compiled part of site_agent/cells/marker_moments.py. marker_kernel.py calls.

   Values are put on a grid and their sums are integers, so that they are the same in any order, whatever the blocks, the
   threads and the machine. Log values (below 9.3) stand on a grid of 2^-32, counts per 10,000 on one of 2^-24. A square
   of a log value does not fit 64 bits and is summed in three parts of its two halves: high, mixed, low. */

#include <stdlib.h>

#include "ieee.h"

#define MARKER_LOG_GRID 4294967296.0 /* 2^32 */
#define SCALED_GRID 16777216.0       /* 2^24 */
#define HALF_BITS 18                 /* log values on their grid have fewer than 36 bits */
#define LARGEST_SCALED 10001.0       /* counts per 10,000, and some room for rounding */

enum { SUM, HIGH_SQUARE, MIXED, LOW_SQUARE, SCALED, NONZERO, HIGH, N_SUMS }; /* as marker_kernel.py */
enum { ADDED, NO_COUNT, OUT_OF_RANGE };

/* Add one gene's count, scaled, to the sums of its state. */
INLINED void add_value(int64_t *row, double scaled, double threshold) {
  double value = log1p_of(scaled);
  int64_t on_grid = (int64_t)(value * MARKER_LOG_GRID + 0.5); /* not negative: truncation rounds down */
  int64_t high = on_grid >> HALF_BITS, low = on_grid & ((1 << HALF_BITS) - 1);
  row[SUM] += on_grid;
  row[HIGH_SQUARE] += high * high;
  row[MIXED] += high * low;
  row[LOW_SQUARE] += low * low;
  row[SCALED] += (int64_t)(scaled * SCALED_GRID + 0.5);
  row[NONZERO] += 1;
  row[HIGH] += value >= threshold;
}

/* Add the rows of a block to sums (n_states, n_genes, N_SUMS); a row whose state is negative is passed over.

   slots (n_file_genes): the place of each of the file's genes, -1 for none; thresholds (n_states, n_genes). values: float,
   or double. The caller has checked indptr. Returns ADDED, NO_MEMORY, or what is wrong with a row; sums are then void. */
EXPORTED int crosslot_add_cells(const int64_t *indptr, const int32_t *indices, const void *values, int is_double,
                                int64_t n, const int32_t *states, const double *libraries, const int32_t *slots,
                                int64_t n_file_genes, double target_sum, const double *thresholds, int64_t n_states,
                                int64_t n_genes, int64_t *sums) {
  double *counts = calloc((size_t)n_genes + 1, sizeof *counts);
  int64_t *touched = malloc(((size_t)n_genes + 1) * sizeof *touched);
  int code = counts && touched ? ADDED : NO_MEMORY;
  for (int64_t i = 0; i < n && code == ADDED; i++) {
    if (states[i] < 0) continue;
    if (states[i] >= n_states) {
      code = OUT_OF_RANGE;
      break;
    }
    double scale = target_sum / libraries[i];
    int64_t m = 0;
    for (int64_t k = indptr[i] - indptr[0]; k < indptr[i + 1] - indptr[0]; k++) {
      if (indices[k] < 0 || indices[k] >= n_file_genes || slots[indices[k]] >= n_genes) {
        code = OUT_OF_RANGE;
        break;
      }
      double count = is_double ? ((const double *)values)[k] : (double)((const float *)values)[k];
      int64_t slot = slots[indices[k]];
      if (slot < 0 || count == 0.0) continue;
      if (!(count > 0.0)) {
        code = NO_COUNT;
        break;
      }
      if (counts[slot] == 0.0) touched[m++] = slot;
      counts[slot] += count; /* a gene that a cell names twice has the sum of both counts */
    }
    for (int64_t j = 0; j < m; j++) {
      int64_t slot = touched[j], at = states[i] * n_genes + slot;
      double scaled = counts[slot] * scale;
      counts[slot] = 0.0;
      if (scaled >= 0.0 && scaled <= LARGEST_SCALED) add_value(sums + at * N_SUMS, scaled, thresholds[at]);
      else code = NO_COUNT;
    }
  }
  free(counts);
  free(touched);
  return code;
}
