/* A file that one thread makes and the writer's thread writes: chunks of bytes in the file's order, a few at a time, so
 * that the maker is asked for more only as fast as the disk takes them.
 *
 * Invariants:
 *   1. A chunk has one owner: the maker until stream_put takes it, then the stream, which releases it once its bytes
 * are written or are of no use.
 *   2. The file has all bytes that were put, and they are on the disk, when the outcome says DP_OK; else there is no
 * file.
 * Thread: the maker's, unless stated. */
#ifndef DP_SERVER_STORE_STREAM_H
#define DP_SERVER_STORE_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"
#include "common/base/mem.h"

struct stream;
struct writer;

enum { STREAM_CHUNKS_MAX = 16 }; /* that wait to be written */

/* Wakes the maker: there is room again, or the file is done. Called by the writer's thread; many calls may be one. */
struct stream_waker {
    void (*wake)(void *arg);
    void *arg;
};

struct stream_outcome {
    uint64_t bytes;
    uint64_t digest; /* XXH3 of them, 64 bits, seed 0 */
    dp_error err;    /* DP_OK, or DP_IO with the file's name and the reason */
};

/* A new file at `path`, in the writer's line. DP_NOMEM. */
DP_MUST_CHECK dp_err stream_new(struct writer *writer, const char *path, struct stream_waker waker,
                                struct stream **ret_stream);
bool stream_has_room(struct stream *stream);
/* Takes the chunk; there must be room. */
void stream_put(struct stream *stream, struct blob *chunk);
/* No chunk follows. `whole`: the file is; else it is removed, and the outcome is DP_STOPPED. */
void stream_end(struct stream *stream, bool whole);
/* Whether the file is done, and how. Once it is, stream_free frees the stream at once. */
bool stream_done(struct stream *stream, struct stream_outcome *ret_outcome);
/* Ends it as if not whole, where it has not ended, and frees it as soon as the writer is done with it; the maker is not
 * woken any more once this returns. Accepts NULL. */
void stream_free(struct stream **stream);

#endif
