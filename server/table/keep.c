/* Rows kept at a step; see keep.h. Thread: shard. */
#include "server/table/keep.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "server/table/read.h"

enum { BITS = 64, BLOCK_WORDS = 1 << 18, FILL_MAX = 1 << 14 /* operations of one call */ };
/* Words of marks that one call looks at: some 0.5 ms over a table that is hardly touched. */
static const uint64_t LOOK_MAX = 1 << 18;

/* Rows in the form of the file. */
struct kept_block {
    struct kept_block *next;
    uint32_t count, room; /* rows */
    uint32_t words[];
};

static uint32_t row_words(const struct part *part)
{
    return ROW_ID_WORDS + part->table.stride + (part->kept->current ? part->table.dim : 0);
}

static uint64_t places(const struct table *table)
{
    return table->kind == TENSOR_HASHED ? table->count : table->last - table->first + 1;
}

static uint64_t id_of(const struct table *table, uint32_t row)
{
    return table->kind == TENSOR_HASHED ? ((const uint64_t *)table->ids.base)[row] : table->first + row;
}

dp_err part_keep(struct part *part)
{
    const struct table *table = &part->table;
    assert(!part->kept);
    struct part_kept *kept = mem_array_zero(1, sizeof *kept);
    if (!kept)
        return DP_NOMEM;
    kept->rows = table->touched;
    kept->end = places(table);
    kept->last = &kept->first;
    kept->current = part->rule.moves;
    kept->version = part_version(part, part->window.next);
    if (pages_init(&kept->seen, (kept->end / BITS + 1) * sizeof(uint64_t))) {
        free(kept);
        return DP_NOMEM;
    }
    part->kept = kept;
    return DP_OK;
}

/* Room for at most `rows` rows; NULL when out of memory. */
static struct kept_block *block_new(const struct part *part, uint64_t rows)
{
    const uint32_t words = row_words(part), most = MAX(BLOCK_WORDS / words, 1U);
    const uint32_t room = (uint32_t)MIN(rows, (uint64_t)most);
    struct kept_block *block = mem_array(sizeof *block + (size_t)room * words * sizeof *block->words, 1);
    if (block)
        *block = (struct kept_block){.room = room};
    return block;
}

static void block_add(const struct part *part, struct kept_block *block, uint64_t id, const float *record)
{
    uint32_t *words = block->words + (size_t)block->count++ * row_words(part);
    words[0] = (uint32_t)id;
    words[1] = (uint32_t)(id >> 32);
    memcpy(words + ROW_ID_WORDS, record, part->table.stride * sizeof *words);
}

/* The block becomes the blob's. */
static struct blob block_give(const struct part *part, struct kept_block *block)
{
    part->kept->given += block->count;
    return (struct blob){block->words, (size_t)block->count * row_words(part) * sizeof *block->words, block, free};
}

/* ---- rows that change ---- */

static bool mark_seen(struct part_kept *kept, uint32_t row)
{
    uint64_t *word = (uint64_t *)kept->seen.base + row / BITS, bit = UINT64_C(1) << row % BITS;
    bool before = *word & bit;
    *word |= bit;
    return before;
}

/* Room for one more row in the last block. */
static struct kept_block *block_last(struct part *part)
{
    struct part_kept *kept = part->kept;
    struct kept_block *last = *kept->last;
    if (last && last->count < last->room)
        return last;
    struct kept_block *block = block_new(part, kept->rows - kept->given);
    if (block && last)
        kept->last = &last->next;
    if (block)
        *kept->last = block;
    return block;
}

static void save(struct part *part, uint64_t id, const float *record)
{
    struct kept_block *block = block_last(part);
    if (!block) {
        part->kept->failed = true;
        return;
    }
    block_add(part, block, id, record);
    part->kept->saved++;
}

void part_keep_changed(struct part *part, const struct rowlist *list, const float *before)
{
    struct part_kept *kept = part->kept;
    if (!kept || kept->next == kept->end)
        return;
    for (uint32_t i = 0; i < list->count && !kept->failed; i++) {
        const uint32_t row = list->rows[i];
        const float *record = before + (size_t)i * part->table.stride;
        if (row < kept->next || row >= kept->end || mark_seen(kept, row))
            continue;
        if (record_stamp(record) != 0)
            save(part, list->ids[i], record);
    }
}

/* ---- the walk ---- */

/* Rows of the 64 places from `at` * 64 on that are to be given by the walk. */
static uint64_t to_give(const struct part *part, uint64_t at)
{
    const struct part_kept *kept = part->kept;
    const uint64_t *marks = part->table.marks.base, *seen = kept->seen.base, first = at * BITS;
    uint64_t word = (marks ? marks[at] : ~UINT64_C(0)) & ~seen[at];
    if (kept->next > first)
        word &= ~UINT64_C(0) << (kept->next - first);
    if (kept->end - first < BITS)
        word &= (UINT64_C(1) << (kept->end - first)) - 1;
    return word;
}

/* Adds rows of these 64 places while there is room. */
static void walk_word(struct part *part, uint64_t at, struct kept_block *block)
{
    struct part_kept *kept = part->kept;
    const struct table *table = &part->table;
    for (uint64_t word = to_give(part, at); word != 0 && block->count < block->room; word &= word - 1) {
        const uint32_t row = (uint32_t)(at * BITS) + (uint32_t)__builtin_ctzll(word);
        const float *record = table_record(table, row);
        if (record_stamp(record) != 0)
            block_add(part, block, id_of(table, row), record);
        kept->next = row + (uint64_t)1;
    }
    if (block->count < block->room)
        kept->next = MIN((at + 1) * BITS, kept->end);
}

/* Rows that the walk comes across; NULL: none yet. */
static dp_err walk(struct part *part, struct kept_block **ret_block)
{
    struct part_kept *kept = part->kept;
    const uint64_t left = kept->rows - kept->given - kept->saved;
    struct kept_block *block = left > 0 ? block_new(part, left) : NULL;
    if (left > 0 && !block)
        return DP_NOMEM;
    for (uint64_t looks = 0; block && block->count < block->room && kept->next < kept->end && looks < LOOK_MAX; looks++)
        walk_word(part, kept->next / BITS, block);
    if (!block || block->count == left)
        kept->next = kept->end; /* those behind it are saved, or are no part of what is kept */
    assert(kept->next < kept->end || (block ? block->count : 0) == left);
    *ret_block = block;
    return DP_OK;
}

static struct kept_block *block_take(struct part_kept *kept)
{
    struct kept_block *block = kept->first;
    kept->first = block->next;
    if (kept->last == &block->next)
        kept->last = &kept->first;
    kept->saved -= block->count;
    return block;
}

/* ---- floats of the step ---- */

/* Adds them to rows of the block, as many as take a short time; whether all have them. */
static bool fill(struct part *part, struct kept_block *block)
{
    struct part_kept *kept = part->kept;
    for (uint64_t cost = 0; kept->filled < block->count && cost < FILL_MAX; kept->filled++) {
        uint32_t *words = block->words + (size_t)kept->filled * row_words(part);
        const uint64_t id = words[0] | (uint64_t)words[1] << 32;
        float *record = (float *)(void *)(words + ROW_ID_WORDS);
        cost += rowrule_cost(&part->rule, record, kept->version);
        rowrule_read(&part->rule, id, record, kept->version, record + part->table.stride);
    }
    return kept->filled == block->count;
}

/* Gives the block once its rows have all that they are given with. */
static void finish(struct part *part, struct kept_block *block, struct blob *ret_bytes)
{
    struct part_kept *kept = part->kept;
    const bool whole = !kept->current || fill(part, block);
    kept->filling = whole ? NULL : block;
    if (!whole)
        return;
    kept->filled = 0;
    *ret_bytes = block_give(part, block);
}

dp_err part_kept_next(struct part *part, struct blob *ret_bytes, bool *ret_more)
{
    struct part_kept *kept = part->kept;
    struct kept_block *block = kept->filling;
    *ret_bytes = (struct blob){0};
    dp_err e = kept->failed ? DP_NOMEM : DP_OK;
    if (!e && !block && kept->next < kept->end)
        e = walk(part, &block);
    else if (!e && !block && kept->first)
        block = block_take(kept);
    if (e)
        return e;
    if (block)
        finish(part, block, ret_bytes);
    *ret_more = kept->filling || kept->next < kept->end || kept->first;
    assert(*ret_more || kept->given == kept->rows);
    return DP_OK;
}

void part_kept_drop(struct part *part)
{
    struct part_kept *kept = part->kept;
    part->kept = NULL;
    if (!kept)
        return;
    free(kept->filling);
    while (kept->first)
        free(block_take(kept));
    pages_fini(&kept->seen);
    free(kept);
}
