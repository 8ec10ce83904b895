/* Loops over bytes: the lzf and shuffle filters of HDF5, undone. reading.c calls.

   Every loop is bounded by the sizes given with the arrays, whatever they hold. Source: LibLZF 3.6, lzf_d.c (format). */

#include "reading.h"

/* Fill target from an lzf stream; return the bytes written, or -1 where the stream is not one.

   A control byte below 32 is followed by that many literals and one; otherwise its upper 3 bits (7: plus the next byte)
   are a length less 2, and its lower 5 bits with the following byte a distance back less 1. */
EXPORTED int64_t crosslot_lzf_decode(const uint8_t *source, int64_t n_source, uint8_t *target, int64_t n_target) {
  int64_t read = 0, written = 0;
  while (read < n_source) {
    int64_t control = source[read++];
    if (control < 32) {
      int64_t length = control + 1;
      if (length > n_source - read || length > n_target - written) return -1;
      memcpy(target + written, source + read, (size_t)length);
      read += length;
      written += length;
      continue;
    }
    int64_t length = control >> 5;
    if (length == 7) {
      if (read >= n_source) return -1;
      length += source[read++];
    }
    length += 2;
    if (read >= n_source) return -1;
    int64_t start = written - (((control & 31) << 8) | source[read++]) - 1;
    if (start < 0 || length > n_target - written) return -1;
    for (int64_t i = 0; i < length; i++) target[written + i] = target[start + i]; /* may read what it has just written */
    written += length;
  }
  return written;
}

/* Undo HDF5's shuffle: byte j of item i lies at j * n_items + i; a remainder stays as it is. */
EXPORTED void crosslot_unshuffle(const uint8_t *source, uint8_t *target, int64_t n_bytes, int64_t item_bytes) {
  if (item_bytes < 1) return;
  int64_t n_items = n_bytes / item_bytes;
  if (item_bytes == 4) { /* the usual item: known here, so that the compiler can use vector instructions */
    for (int64_t i = 0; i < n_items; i++)
      for (int64_t j = 0; j < 4; j++) target[i * 4 + j] = source[j * n_items + i];
  } else {
    for (int64_t j = 0; j < item_bytes; j++)
      for (int64_t i = 0; i < n_items; i++) target[i * item_bytes + j] = source[j * n_items + i];
  }
  for (int64_t i = n_items * item_bytes; i < n_bytes; i++) target[i] = source[i];
}
