/* Long vectors of an HDF5 file, read chunk by chunk without the HDF5 library. site_agent/cells/file_vectors.py lays them out.

   Rules.
   1. A chunk decodes to exactly the bytes that its file declares, or is an error; nothing else is allocated or written.
   2. Bytes are read by position, so any number of threads may read one file at once. Nothing is kept between calls. */

#ifndef CROSSLOT_READING_H
#define CROSSLOT_READING_H

#include <stddef.h>

#include "ieee.h"

/* What may befall a chunk, besides NO_MEMORY. */
enum { NOT_READ = -2, ENDS_EARLY = -3, NOT_DECODED = -4 };

enum { DEFLATE = 1, SHUFFLE = 2, LZF = 32000, ZSTD = 32015 }; /* HDF5's registered filters */
enum { MAXIMUM_STEPS = 4 };

/* Kinds of items: 'i', 'u' or 'f' of NumPy, and their bytes beside it. */
struct kind {
  int32_t letter, bytes;
};

/* Decoders that others keep well: libdeflate's and zstd's functions, or null. */
struct codecs {
  void *(*make_inflater)(void);
  void (*drop_inflater)(void *);
  int (*inflate)(void *inflater, const void *in, size_t n_in, void *out, size_t n_out, size_t *written); /* 0: well */
  size_t (*unpack_zstd)(void *out, size_t n_out, const void *in, size_t n_in); /* bytes written, or an error far above */
};

/* A one-dimensional dataset. */
struct vector {
  const int64_t *offsets; /* (n_chunks), or null where the bytes lie in one run */
  const int64_t *sizes;   /* (n_chunks) stored bytes */
  const uint32_t *masks;  /* (n_chunks) bit i: the chunk skipped filter i */
  const struct codecs *codecs;
  int64_t run_offset;     /* of the one run */
  int64_t n_items;
  int64_t items_per_chunk; /* of one run: as many as are read at once */
  int64_t largest_stored;  /* of sizes */
  struct kind kind;
  int32_t descriptor;
  int32_t n_steps, steps[MAXIMUM_STEPS]; /* filters in the order in which they were applied */
};

/* Where reading failed. */
struct fault {
  int64_t chunk;
  int32_t is_of_counts, system; /* errno */
};

/* Room to decode the chunks of one vector in. */
struct chunk_room {
  void *inflater;
  uint8_t *stored, *between; /* as in the file; between two filters */
};

/* A run of a vector's items, as int32, float or double, that moves through the vector. */
struct window {
  const struct vector *vector;
  struct chunk_room room;
  char *items;  /* (longest + items_per_chunk) of target */
  uint8_t *raw; /* one chunk before it is converted, or null where it need not be */
  int64_t first, end;
  struct kind target;
};

/* Open a window onto a vector for runs of up to longest items; return 0 or NO_MEMORY. Close it either way. */
int crosslot_open_window(struct window *window, const struct vector *vector, struct kind target, int64_t longest);

void crosslot_close_window(struct window *window);

/* Bring the items start..stop into the window and point to them; return 0 or what went wrong. start never falls. */
int crosslot_reach(struct window *window, int64_t start, int64_t stop, const void **items, struct fault *fault);

/* The kind in which the kernel takes counts of this kind: float where that is exact. */
struct kind crosslot_kind_of_counts(struct kind stored);

EXPORTED int64_t crosslot_lzf_decode(const uint8_t *source, int64_t n_source, uint8_t *target, int64_t n_target);
EXPORTED void crosslot_unshuffle(const uint8_t *source, uint8_t *target, int64_t n_bytes, int64_t item_bytes);

#endif
