/* Messages <-> bytes. All validation of received bytes happens here, before any state is touched: a message that parses
 * has every repeated field within its limit, every string printable, terminated and short, every number within its
 * type, and the payload frames that its header promises. Ranges that depend on the job (slice, slot, step) are checked
 * by frame_limits.h. Thread: any; an arena belongs to one thread. */
#ifndef DP_PROTO_FRAME_H
#define DP_PROTO_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"
#include "common/tensor/label.h"
#include "proto/arena.h"
#include "proto/dp.pb-c.h"

enum {
    FRAME_MAGIC = 0x72617064,
    FRAME_MAJOR = 1,
    FRAME_MINOR = 0,
    FRAME_FEATURE_SHM = 1 << 0, /* shared memory, see proto/README.md */
    /* Largest header frame: Join with lists of FRAME_LABELS_MAX labels and a schema's names (common/tensor/schema.h).
     */
    FRAME_HEADER_BYTES_MAX = 4 << 20,
    FRAME_ARENA_BYTES_MAX = 16 << 20, /* most memory that a parse takes */
    FRAME_TEXT_MAX = 512,
    FRAME_NAME_MAX = 160,
    FRAME_SLOTS_MAX = 4096,
    FRAME_STALENESS_MAX = 32,
    FRAME_LEVEL_MAX = 12, /* of the root over that many slots */
    FRAME_SHARDS_MAX = 1024,
    FRAME_SLICES_MAX = 1 << 16,
    FRAME_LABELS_MAX = LABELS_MAX,
    FRAME_LABEL_MAX = LABEL_TEXT_MAX,          /* of a label's text */
    FRAME_LABELS_BYTES_MAX = LABELS_BYTES_MAX, /* of the texts of a list */
    FRAME_HASH_BITS_MAX = 31,
    SLICE_BYTES = 2 << 20, /* largest payload frame of a slice */
    FRAME_PARTS_MAX = 1 << 12,
    FRAME_LANES = 2, /* connections of a session to a shard: piece i goes by lane i % FRAME_LANES, or all by one */
    FRAME_ROWS_MAX = 1 << 22,        /* of one list of ids */
    FRAME_ROWS_FLOATS_MAX = 1 << 23, /* of the values of one list */
    FRAME_ROWS_BYTES_MAX = 32 << 20, /* largest payload frame of a part: either of these */
    FRAME_CHALLENGE_BYTES = 32,
    FRAME_PROOF_BYTES = 64,           /* the challenge that it answers, and a MAC (common/net/proof.h) */
    FRAME_HEARTBEAT_IDLE = 2,         /* an idle worker may skip heartbeats: one per N intervals */
    FRAME_EXPORT_BYTES_MAX = 4 << 20, /* largest payload frame of an Exported */
    FRAME_FEATURE_TABLES = 1 << 4,    /* of Hello and Welcome: knows tables and their messages */
    FRAME_FEATURE_ASK = 1 << 6,       /* likewise: knows Ask and Held */
};
/* Samples of a push: those of FRAME_SLOTS_MAX pushes can be added, as numbers and as doubles, and stay exact. */
#define FRAME_SAMPLES_MAX ((uint64_t)1 << 40)
/* Elements of theta that a job can have. */
#define FRAME_ELEMS_MAX ((uint64_t)FRAME_SLICES_MAX * (SLICE_BYTES / sizeof(float)))

/* Parses a header frame (arena is reset first). The message is valid until the next parse with the same arena and is
 * never freed by the caller. `payload_count` is the number of frames that follow. DP_PROTO with what is wrong. A
 * message that passes has exactly one body, known; strings that are never NULL, printable (common/base/text.h; senders
 * use text_clean) and no longer than FRAME_TEXT_MAX, Hello's and Welcome's than FRAME_NAME_MAX; Hello's magic and role
 * (its version is the head's to answer); the job in Welcome and Joined, with 1..FRAME_SLOTS_MAX slots; tensors in Join;
 * tensors of sane shapes and at most FRAME_ELEMS_MAX elements; in Joined tensors and shards whose slices of at most
 * SLICE_BYTES add up to the dense tensors and whose parts cover each table's ids in order; lists of ids of at most
 * FRAME_ROWS_MAX; labels finite, their texts not empty, of at most FRAME_LABEL_MAX bytes and FRAME_LABELS_BYTES_MAX in
 * all; those of a Dataset strictly ascending; slots of an Assign strictly ascending; of a push at most
 * FRAME_SAMPLES_MAX samples, no more of them predicted right, and without any a loss of 0. Else a loss may be anything:
 * a job that diverges must be able to say so. */
DP_MUST_CHECK dp_err frame_parse(struct arena *arena, const void *data, size_t bytes, size_t payload_count,
                                 const Dp__Header **ret_header, dp_error *err);

/* Bytes that a header takes, and the header written to exactly that many. */
size_t frame_size(const Dp__Header *header);
void frame_write(const Dp__Header *header, void *buf);

#endif
