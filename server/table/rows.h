/* The rows of one part of a table, in memory.
 *
 * A row is a record of words: a stamp, the row's floats, then its optimizer state, so that a row is one run of memory.
 * The stamp is 0 for a row that no commit has touched, which then has its initial value whatever the record says; else
 * 1 + the training step that the row's floats are of (they are theta_t of that step; catch-up brings them further).
 * Rows 0 .. n - 1 of a dense-range table lie at their place, in pages that are there once they are touched. Rows of a
 * hashed one are appended as they come and found by open addressing; a row's place never changes.
 * Thread: shard. */
#ifndef DP_SERVER_TABLE_ROWS_H
#define DP_SERVER_TABLE_ROWS_H

#include "common/tensor/tensor.h"
#include "server/table/ids.h"

/* Memory from the kernel: zero pages, grown without copying. */
struct pages {
    void *base;
    size_t bytes;
};
/* `bytes` > 0. DP_NOMEM. */
DP_MUST_CHECK dp_err pages_init(struct pages *pages, size_t bytes);
void pages_fini(struct pages *pages);

struct table {
    enum tensor_kind kind;
    uint64_t first, last; /* ids */
    uint32_t dim;         /* floats of a row */
    uint32_t stride;      /* words of a record */
    struct pages records;
    uint64_t touched;   /* rows that have a stamp */
    struct pages marks; /* dense range: a bit for each of them, so that they are found without looking at all rows */
    /* hashed */
    uint32_t count; /* records */
    uint32_t room;  /* that there is memory for */
    struct pages ids;
    uint32_t *index; /* [index_mask + 1] place of a row + 1, 0 for none; at most half full */
    uint64_t index_mask;
};

/* Ids [first, last] of a table tensor, with `state_count` states of optimizer state. DP_NOMEM. */
DP_MUST_CHECK dp_err table_init(struct table *table, const struct tensor *tensor, uint64_t first, uint64_t last,
                                uint32_t state_count);
void table_fini(struct table *table);
/* Looks for the rows of a list that are missing, without making any. */
void table_find(const struct table *table, struct rowlist *list);
/* Makes those that are missing, untouched. DP_NOMEM: some may still be missing. */
DP_MUST_CHECK dp_err table_make(struct table *table, struct rowlist *list);
/* Puts a stamp on a row's record. */
void table_stamp(struct table *table, uint32_t row, uint32_t stamp);
/* Dense range: the first touched id from `id` on, UINT64_MAX if there is none. */
uint64_t table_next_touched(const struct table *table, uint64_t id);
/* All rows of a hashed table that have a record, sorted: a new reference. NULL when out of memory. */
struct rowlist *table_sorted(const struct table *table);
/* Memory that rows take, as far as they are there. */
uint64_t table_bytes(const struct table *table);

/* A row's record: stamp, then floats. */
static inline float *table_record(const struct table *table, uint32_t row)
{
    return (float *)table->records.base + (size_t)row * table->stride;
}
static inline uint32_t record_stamp(const float *record)
{
    return *(const uint32_t *)(const void *)record;
}

#endif
