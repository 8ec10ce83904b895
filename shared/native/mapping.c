/* Cells to clusters: rows of counts in memory, or as they come from a file. shared/atlas/compiled.py calls.

   No lock is held, and nothing is kept between calls: any number of threads may call at once. The same body is compiled
   twice on x86-64: for every processor, and for those with AVX2, chosen as it runs. */

#include "kernel.h"
#include "reading.h"

/* A block of compressed rows. Genes may stand in any order, and more than once in a row. */
struct rows {
  const int64_t *indptr; /* (n + 1) rising; less the first, positions in the two below */
  const int32_t *indices;
  const void *counts; /* float, or double */
  int64_t n, n_values;
  int32_t is_double;
};

/* Rows of a compressed matrix in a file: start..stop of it, or only those that keep (n_rows) marks. */
struct stored_rows {
  const int64_t *indptr; /* (n_rows + 1) rising from 0 to the vectors' items */
  const uint8_t *keep;   /* or null */
  const struct vector *genes, *counts;
  int64_t start, stop;
};

INLINED int map_memory(const struct tables *t, const struct rows *in, const struct cells *out, int64_t *bad_row,
                       int is_wide) {
  struct room room;
  int code = open_kernel_room(&room, t, longest_row(in->indptr, 0, in->n));
  *bad_row = -1;
  for (int64_t i = 0; i < in->n && code == VALID; i++) {
    int64_t start = in->indptr[i] - in->indptr[0], n = in->indptr[i + 1] - in->indptr[i];
    const char *counts = (const char *)in->counts + start * (in->is_double ? 8 : 4);
    code = map_row(t, in->indices + start, counts, in->is_double, n, i, &room, out, is_wide);
    if (code) *bad_row = i;
  }
  close_kernel_room(&room);
  return code;
}

INLINED int map_file(const struct tables *t, const struct stored_rows *in, const struct cells *out, int64_t *bad_row,
                     struct fault *fault, int is_wide) {
  const int64_t longest = longest_row(in->indptr, in->start, in->stop);
  struct window genes = {0}, counts = {0};
  struct room room = {0};
  struct kind int32 = {'i', 4}, real = crosslot_kind_of_counts(in->counts->kind);
  int code = crosslot_open_window(&genes, in->genes, int32, longest);
  if (!code) code = crosslot_open_window(&counts, in->counts, real, longest);
  if (!code) code = open_kernel_room(&room, t, longest);
  int64_t done = 0;
  *bad_row = -1;
  for (int64_t i = in->start; i < in->stop && code == VALID; i++) {
    const void *genes_of_row, *counts_of_row;
    if (in->keep != NULL && !in->keep[i]) continue;
    int64_t start = in->indptr[i], stop = in->indptr[i + 1];
    fault->is_of_counts = 0;
    code = crosslot_reach(&genes, start, stop, &genes_of_row, fault);
    if (code) break;
    fault->is_of_counts = 1;
    code = crosslot_reach(&counts, start, stop, &counts_of_row, fault);
    if (code) break;
    code = map_row(t, genes_of_row, counts_of_row, real.bytes == 8, stop - start, done, &room, out, is_wide);
    if (code) *bad_row = done;
    done++;
  }
  close_kernel_room(&room);
  crosslot_close_window(&counts);
  crosslot_close_window(&genes);
  return code;
}

/* Either kind of rows: exactly one of the two is given. */
INLINED int map_either(const struct tables *t, const struct rows *memory, const struct stored_rows *file,
                       const struct cells *out, int64_t *bad_row, struct fault *fault, int is_wide) {
  return file ? map_file(t, file, out, bad_row, fault, is_wide) : map_memory(t, memory, out, bad_row, is_wide);
}

static int map_anywhere(const struct tables *t, const struct rows *memory, const struct stored_rows *file,
                        const struct cells *out, int64_t *bad_row, struct fault *fault) {
  return map_either(t, memory, file, out, bad_row, fault, 0);
}

#if defined(__x86_64__) || defined(_M_X64)
#include <cpuid.h>

/* Whether the processor has AVX2 and the system keeps its registers. */
static int has_avx2(void) {
  unsigned a, b, c, d, low, high;
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || !(c & bit_AVX)) return 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  if ((low & 6) != 6) return 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2);
}

__attribute__((target("avx2"))) static int map_by_avx2(const struct tables *t, const struct rows *memory,
                                                       const struct stored_rows *file, const struct cells *out,
                                                       int64_t *bad_row, struct fault *fault) {
  return map_either(t, memory, file, out, bad_row, fault, 1);
}
#else
static int has_avx2(void) { return 0; }
#define map_by_avx2 map_anywhere
#endif

/* The sources that this was built from (shared/native/library.py). */
EXPORTED const char *crosslot_sources(void) { return SOURCES_SHA256; }

/* 1 where wider instructions than the processor's family promises can be used, else 0. */
EXPORTED int crosslot_widest(void) { return has_avx2(); }

/* Fill the output row by row; return the code of the first row that is no row of counts, its number in bad_row, or
   NO_MEMORY. wide: as crosslot_widest says, or 0. The caller has checked indptr against n_values. */
EXPORTED int crosslot_map_rows(const struct tables *t, const struct rows *in, const struct cells *out, int wide,
                               int64_t *bad_row) {
  return (wide ? map_by_avx2 : map_anywhere)(t, in, NULL, out, bad_row, NULL);
}

/* The same of rows in a file; or the code of what befell a chunk, told in fault. */
EXPORTED int crosslot_map_stored_rows(const struct tables *t, const struct stored_rows *in, const struct cells *out,
                                      int wide, int64_t *bad_row, struct fault *fault) {
  return (wide ? map_by_avx2 : map_anywhere)(t, NULL, in, out, bad_row, fault);
}

EXPORTED double crosslot_log1p(double x) { return log1p_of(x); }

EXPORTED double crosslot_exp(double x) { return exp_of(x); }
