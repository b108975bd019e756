/* The facts that a shard's file has of itself (shard_file.h): ranges of tensors, parts of tables, slots of open steps.
 * Thread: any. */
#ifndef DP_COMMON_CHECKPOINT_SHARD_FACTS_H
#define DP_COMMON_CHECKPOINT_SHARD_FACTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tensor/history.h"
#include "common/tensor/tensor.h"
#include "common/terms/constraint.h"

enum { SHARD_FILE_STATES_MAX = 3, SHARD_FILE_SLOTS_MAX = 4096 };

/* Elements [first, first + count) of a dense tensor. */
struct shard_file_range {
    char tensor[TENSOR_NAME_MAX];
    uint64_t first, count;
};
/* Rows of a table with ids [first, last]. */
struct shard_file_part {
    char tensor[TENSOR_NAME_MAX];
    uint64_t first, last, rows;
    uint32_t dim;
    bool current; /* rows have their floats of the cut as well */
};
/* On arrival: the slots of open steps that are committed already, of a run of theta or a part. */
struct shard_file_arrivals {
    uint64_t first, count; /* elements of theta */
    uint64_t open;         /* steps, from the cut on */
    struct metrics *sums;  /* [open] */
    uint8_t *accepted;     /* [open][(slots + 7) / 8], a bit a slot */
};

/* The facts that a file has of itself. Lists are heap, freed by shard_file_facts_fini. */
struct shard_file_facts {
    uint64_t step, train_step; /* of the plan: the cut; training steps that theta has seen */
    uint32_t shard;
    uint32_t slots;
    uint32_t states; /* of the rule */
    char rule[32];
    uint32_t range_count, part_count, arrival_count;
    struct shard_file_range *ranges;
    struct shard_file_part *parts;
    struct shard_file_arrivals *arrivals;
    struct multipliers multipliers;
};
/* Words of a row of a part, and the first of them that has the row's floats at the step of the cut. */
uint64_t shard_file_row_words(const struct shard_file_facts *facts, const struct shard_file_part *part);
uint64_t shard_file_row_theta(const struct shard_file_facts *facts, const struct shard_file_part *part);
void shard_file_facts_fini(struct shard_file_facts *facts);

/* The facts as text, heap; NULL when out of memory. */
char *shard_facts_text(const struct shard_file_facts *facts);
/* The same from that text as JSON; false where it is wrong or out of memory, with facts that are to be freed. */
bool shard_facts_read(const json_t *json, struct shard_file_facts *facts);
/* Bytes of the bits of a step's slots. */
size_t shard_facts_accepted_bytes(const struct shard_file_facts *facts);

#endif
