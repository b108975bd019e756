/* The rows of a part as they are at one step, for a checkpoint, while training goes on: a walk over the rows that have
 * not changed since then, and records of those that have, which are saved at their first change. A record does not have
 * the row's floats of the step under rules that change rows while they are left alone: they are given behind it then.
 *
 * Invariants:
 *   1. Rows that had a stamp when part_keep was called are given, each once, with the words of that moment; no others
 * are.
 *   2. A row is saved only if it has not been given; at most once.
 * Thread: shard; a blob that was taken is the taker's, on any thread. */
#ifndef DP_SERVER_TABLE_KEEP_H
#define DP_SERVER_TABLE_KEEP_H

#include "common/base/mem.h"
#include "server/table/state.h"

enum { ROW_ID_WORDS = 2 }; /* before the record of a row that is given */

struct kept_block;

struct part_kept {
    uint64_t rows;            /* that it has */
    uint64_t given, saved;    /* of them, so far; saved ones need not be given yet */
    uint64_t end;             /* the rows that had a place then lie before it */
    uint64_t next;            /* place that the walk has come to */
    struct pages seen;        /* a bit for each place: saved, or without a stamp then */
    struct kept_block *first; /* saved records, oldest first */
    struct kept_block **last;
    bool failed;                /* there was no memory to save a row */
    bool current;               /* rows are given with their floats of the step: */
    uint64_t version;           /* a training step */
    struct kept_block *filling; /* rows that were found, and whose floats are being computed */
    uint32_t filled;            /* of them */
};

/* Keeps the rows as they are, as part->kept. One at a time. DP_NOMEM. */
DP_MUST_CHECK dp_err part_keep(struct part *part);
/* Rows of a list have changed: before[list->count * stride] has their records as they were, in the list's order. */
void part_keep_changed(struct part *part, const struct rowlist *list, const float *before);
/* The next rows, as words: id low, id high, stamp, floats, states, floats of the step if `current`; at most some 1 MiB
 * of them, for the taker to release; no bytes where none could be made in a short time. *ret_more: there may be others.
 * DP_NOMEM, also where there was none to save a row. */
DP_MUST_CHECK dp_err part_kept_next(struct part *part, struct blob *ret_bytes, bool *ret_more);
/* Drops what was not taken. Nothing need be kept. */
void part_kept_drop(struct part *part);

#endif
