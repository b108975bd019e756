/* A data set that is larger than memory: plain LIBSVM or CSV, read by blocks of rows as they are needed.
 *
 * One pass over the file checks every line and notes where each block begins; after it, blocks are parsed again on
 * demand and kept, the ones used last, within a budget. Thread: opening is single-threaded; gathering is any's. */
#ifndef DP_WORKER_DATA_BLOCKS_H
#define DP_WORKER_DATA_BLOCKS_H

#include "worker/data/data.h"
#include "worker/data/gathered.h"

struct data_blocks;

/* Blocks of a file, and the memory for them. */
struct data_blocks_shape {
    uint64_t block_rows;
    uint32_t window_blocks; /* that are used side by side: the budget must hold them, and one more */
    uint64_t budget_bytes;
};

/* Findings of the pass over the file. Borrowed until data_blocks_free. */
struct data_blocks_facts {
    const char *name;
    uint64_t rows, features, fingerprint; /* that of data_fingerprint */
    bool sparse;
    const struct label_set *labels; /* distinct ones; NULL but for LABEL_CLASSES */
    const struct data *found;       /* its schema, label_at, label_name and note */
};

/* DP_USAGE for a file that cannot be read so (gzip, IDX, a pipe) and a budget that is too small; else as data_read. */
DP_MUST_CHECK dp_err data_blocks_open(const struct data_source *source, const struct data_blocks_shape *shape,
                                      struct data_blocks **ret_blocks, dp_error *err);
/* Accepts NULL. */
void data_blocks_free(struct data_blocks **blocks);
struct data_blocks_facts data_blocks_facts(const struct data_blocks *blocks);

/* Copies these rows of the set to *gathered; classes are numbers in the set's labels, which it does not have itself.
 * DP_DATA where size, time or content of the file have changed since the pass over it, DP_IO, DP_NOMEM. */
DP_MUST_CHECK dp_err data_blocks_gather(struct data_blocks *blocks, const uint64_t *rows, uint64_t count,
                                        struct gathered *gathered, dp_error *err);

#endif
