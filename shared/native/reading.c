/* Chunks of an HDF5 file to items: see reading.h. */

#if !defined(_WIN32)
#define _FILE_OFFSET_BITS 64
#define _POSIX_C_SOURCE 200809L
#endif

#include "reading.h"

#include <errno.h>
#include <stdlib.h>

#if defined(_WIN32)
static int read_at(int descriptor, uint8_t *out, int64_t n, int64_t offset, struct fault *fault) {
  (void)descriptor, (void)out, (void)n, (void)offset;
  fault->system = ENOSYS; /* vectors are laid out for this only where files are read by position */
  return NOT_READ;
}
#else
#include <unistd.h>

static int read_at(int descriptor, uint8_t *out, int64_t n, int64_t offset, struct fault *fault) {
  while (n > 0) { /* one call reads at most 2 GiB */
    ssize_t count = pread(descriptor, out, (size_t)n, (off_t)offset);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      fault->system = errno;
      return NOT_READ;
    }
    if (count == 0) return ENDS_EARLY;
    out += count;
    offset += count;
    n -= count;
  }
  return 0;
}
#endif

static int64_t chunk_bytes(const struct vector *v) { return v->items_per_chunk * v->kind.bytes; }

static int open_room(struct chunk_room *room, const struct vector *v) {
  memset(room, 0, sizeof *room);
  if (v->offsets == NULL) return 0;
  for (int i = 0; i < v->n_steps; i++)
    if (v->steps[i] == DEFLATE && room->inflater == NULL) {
      room->inflater = v->codecs->make_inflater();
      if (room->inflater == NULL) return NO_MEMORY;
    }
  room->stored = malloc((size_t)v->largest_stored + 1);
  if (v->n_steps > 1) room->between = malloc((size_t)chunk_bytes(v) * 2 + 1);
  return room->stored == NULL || (v->n_steps > 1 && room->between == NULL) ? NO_MEMORY : 0;
}

static void close_room(struct chunk_room *room, const struct vector *v) {
  if (room->inflater != NULL) v->codecs->drop_inflater(room->inflater);
  free(room->stored);
  free(room->between);
}

/* Undo one filter: fill out with exactly n_out bytes. */
static int undo(const struct vector *v, int step, void *inflater, const uint8_t *in, int64_t n_in, uint8_t *out,
                int64_t n_out) {
  switch (step) {
    case DEFLATE: return v->codecs->inflate(inflater, in, (size_t)n_in, out, (size_t)n_out, NULL) ? NOT_DECODED : 0;
    case ZSTD: return v->codecs->unpack_zstd(out, (size_t)n_out, in, (size_t)n_in) == (size_t)n_out ? 0 : NOT_DECODED;
    case LZF: return crosslot_lzf_decode(in, n_in, out, n_out) == n_out ? 0 : NOT_DECODED;
    case SHUFFLE:
      if (n_in != n_out) return NOT_DECODED;
      crosslot_unshuffle(in, out, n_out, v->kind.bytes);
      return 0;
    default: return NOT_DECODED;
  }
}

static int read_run(const struct vector *v, int64_t start, int64_t n, uint8_t *out, struct fault *fault) {
  return read_at(v->descriptor, out, n * v->kind.bytes, v->run_offset + start * v->kind.bytes, fault);
}

/* Fill out with the bytes of one chunk, all items_per_chunk of them even where the vector ends before. */
static int read_chunk(const struct vector *v, int64_t number, struct chunk_room *room, uint8_t *out,
                      struct fault *fault) {
  int64_t n_in = v->sizes[number], n_out = chunk_bytes(v), left = 0;
  fault->chunk = number;
  for (int i = 0; i < v->n_steps; i++) left += !(v->masks[number] >> i & 1);
  if (left == 0 && n_in != n_out) return NOT_DECODED;
  if (left == 0) return read_at(v->descriptor, out, n_out, v->offsets[number], fault);
  int code = read_at(v->descriptor, room->stored, n_in, v->offsets[number], fault);
  const uint8_t *in = room->stored;
  for (int i = v->n_steps - 1; i >= 0 && !code; i--) {
    if (v->masks[number] >> i & 1) continue;
    uint8_t *to = --left == 0 ? out : room->between + (left % 2) * n_out;
    code = undo(v, v->steps[i], room->inflater, in, n_in, to, n_out);
    in = to;
    n_in = n_out;
  }
  return code;
}

struct kind crosslot_kind_of_counts(struct kind stored) {
  /* 16 bits are exact in a float; what a double cannot hold exactly is too large for a count either way */
  int is_float = stored.letter == 'f' ? stored.bytes == 4 : stored.bytes <= 2;
  return (struct kind){'f', is_float ? 4 : 8};
}

/* Convert n items. An index beyond int32 becomes -1: it lies outside any matrix. */
#define CONVERTING(FROM)                                                                            \
  {                                                                                                 \
    const FROM *from = raw;                                                                         \
    if (to.letter == 'f' && to.bytes == 4)                                                          \
      for (int64_t k = 0; k < n; k++) ((float *)items)[k] = (float)from[k];                         \
    else if (to.letter == 'f')                                                                      \
      for (int64_t k = 0; k < n; k++) ((double *)items)[k] = (double)from[k];                       \
    else                                                                                            \
      for (int64_t k = 0; k < n; k++)                                                               \
        ((int32_t *)items)[k] = (uint64_t)from[k] <= INT32_MAX ? (int32_t)from[k] : -1; \
    return;                                                                                         \
  }

static void convert(struct kind kind, struct kind to, const void *raw, void *items, int64_t n) {
  switch (kind.letter * 16 + kind.bytes) {
    case 'i' * 16 + 1: CONVERTING(int8_t)
    case 'i' * 16 + 2: CONVERTING(int16_t)
    case 'i' * 16 + 4: CONVERTING(int32_t)
    case 'i' * 16 + 8: CONVERTING(int64_t)
    case 'u' * 16 + 1: CONVERTING(uint8_t)
    case 'u' * 16 + 2: CONVERTING(uint16_t)
    case 'u' * 16 + 4: CONVERTING(uint32_t)
    case 'u' * 16 + 8: CONVERTING(uint64_t)
  }
}

int crosslot_open_window(struct window *window, const struct vector *vector, struct kind target, int64_t longest) {
  int is_same = vector->kind.letter == target.letter && vector->kind.bytes == target.bytes;
  *window = (struct window){.vector = vector, .target = target};
  if (open_room(&window->room, vector)) return NO_MEMORY;
  window->items = malloc((size_t)(longest + vector->items_per_chunk) * (size_t)target.bytes);
  if (!is_same) window->raw = malloc((size_t)chunk_bytes(vector));
  return window->items == NULL || (!is_same && window->raw == NULL) ? NO_MEMORY : 0;
}

void crosslot_close_window(struct window *window) {
  close_room(&window->room, window->vector);
  free(window->items);
  free(window->raw);
}

int crosslot_reach(struct window *w, int64_t start, int64_t stop, const void **items, struct fault *fault) {
  const struct vector *v = w->vector;
  const int64_t per = v->items_per_chunk, bytes = w->target.bytes;
  if (stop > w->end && start >= w->end) w->first = w->end = v->offsets == NULL ? start : start / per * per;
  while (w->end < stop) {
    int64_t dropped = start - w->first; /* none while the first chunk is yet to come */
    if (w->end > w->first && dropped > 0) {
      memmove(w->items, w->items + dropped * bytes, (size_t)((w->end - start) * bytes));
      w->first = start;
    }
    /* fewer items than the longest run are held now, so there is room for a chunk */
    char *to = w->items + (w->end - w->first) * bytes;
    uint8_t *out = w->raw ? w->raw : (uint8_t *)to;
    int64_t n = v->n_items - w->end < per ? v->n_items - w->end : per;
    int code = v->offsets == NULL ? read_run(v, w->end, n, out, fault) : read_chunk(v, w->end / per, &w->room, out, fault);
    if (code) return code;
    if (w->raw) convert(v->kind, w->target, w->raw, to, n);
    w->end += n;
  }
  *items = w->items + (stop > start ? start - w->first : 0) * bytes;
  return 0;
}

/* Fill out with the whole chunks first..last of a vector, as they are; return 0 or what went wrong. */
EXPORTED int crosslot_read_chunks(const struct vector *v, int64_t first, int64_t last, uint8_t *out,
                                  struct fault *fault) {
  struct chunk_room room;
  int code = open_room(&room, v);
  for (int64_t number = first; number < last && !code; number++)
    code = read_chunk(v, number, &room, out + (number - first) * chunk_bytes(v), fault);
  close_room(&room, v);
  return code;
}

/* Fill out with the items start..stop of a vector whose bytes lie in one run. */
EXPORTED int crosslot_read_run(const struct vector *v, int64_t start, int64_t stop, uint8_t *out, struct fault *fault) {
  return read_run(v, start, stop - start, out, fault);
}
