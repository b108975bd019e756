/* Rows in memory; see rows.h. Thread: shard. */
#include "server/table/rows.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/mem.h"

enum { ROOM_FIRST = 1024, INDEX_FIRST = 2 * ROOM_FIRST, LOOK_AHEAD = 16, MARK_BITS = 64 };
/* Up to here, pages of 2 MiB cost no more memory than a table that is touched all over does anyway. */
static const size_t HUGE_UP_TO = (size_t)1 << 30;

dp_err pages_init(struct pages *pages, size_t bytes)
{
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return DP_NOMEM;
    if (bytes <= HUGE_UP_TO)
        (void)madvise(base, bytes, MADV_HUGEPAGE); /* a hint: without it all is the same, but slower */
    *pages = (struct pages){base, bytes};
    return DP_OK;
}

static dp_err pages_grow(struct pages *pages, size_t bytes)
{
    void *base = mremap(pages->base, pages->bytes, bytes, MREMAP_MAYMOVE);
    if (base == MAP_FAILED)
        return DP_NOMEM;
    *pages = (struct pages){base, bytes};
    return DP_OK;
}

void pages_fini(struct pages *pages)
{
    if (pages->base)
        munmap(pages->base, pages->bytes);
    *pages = (struct pages){0};
}

static size_t record_bytes(const struct table *table)
{
    return (size_t)table->stride * sizeof(float);
}

static dp_err init_hashed(struct table *table)
{
    table->room = ROOM_FIRST;
    table->index_mask = INDEX_FIRST - 1;
    table->index = mem_array_zero(INDEX_FIRST, sizeof *table->index);
    if (!table->index || pages_init(&table->ids, ROOM_FIRST * sizeof(uint64_t)))
        return DP_NOMEM;
    return pages_init(&table->records, ROOM_FIRST * record_bytes(table));
}

static dp_err init_range(struct table *table, uint64_t rows)
{
    if (pages_init(&table->marks, (rows + MARK_BITS - 1) / MARK_BITS * sizeof(uint64_t)))
        return DP_NOMEM;
    return pages_init(&table->records, rows * record_bytes(table));
}

dp_err table_init(struct table *table, const struct tensor *tensor, uint64_t first, uint64_t last, uint32_t state_count)
{
    *table = (struct table){.kind = tensor->kind, .first = first, .last = last, .dim = tensor->dim};
    table->stride = 1 + tensor->dim * (1 + state_count);
    uint64_t rows = last - first + 1;
    dp_err e;
    if (tensor->kind == TENSOR_HASHED)
        e = init_hashed(table);
    else
        e = rows > ROW_NONE ? DP_NOMEM : init_range(table, rows);
    if (e)
        table_fini(table);
    return e;
}

void table_fini(struct table *table)
{
    pages_fini(&table->records);
    pages_fini(&table->ids);
    pages_fini(&table->marks);
    free(table->index);
    *table = (struct table){0};
}

uint64_t table_bytes(const struct table *table)
{
    uint64_t rows = table->kind == TENSOR_HASHED ? table->count : table->touched;
    return rows * (record_bytes(table) + (table->kind == TENSOR_HASHED ? sizeof(uint64_t) : 0));
}

void table_stamp(struct table *table, uint32_t row, uint32_t stamp)
{
    float *record = table_record(table, row);
    if (record_stamp(record) == 0) {
        table->touched++;
        if (table->marks.base)
            ((uint64_t *)table->marks.base)[row / MARK_BITS] |= UINT64_C(1) << row % MARK_BITS;
    }
    *(uint32_t *)(void *)record = stamp;
}

uint64_t table_next_touched(const struct table *table, uint64_t id)
{
    const uint64_t *marks = table->marks.base;
    uint64_t row = id - table->first, words = table->marks.bytes / sizeof *marks, at = row / MARK_BITS;
    if (at >= words)
        return UINT64_MAX;
    uint64_t word = marks[at] & ~UINT64_C(0) << row % MARK_BITS;
    while (word == 0) {
        if (++at == words)
            return UINT64_MAX;
        word = marks[at];
    }
    return table->first + at * MARK_BITS + (uint64_t)__builtin_ctzll(word);
}

/* The place of the index at which the search for an id starts: spreads ids that come in sequences (the last rounds of
 * MurmurHash3's finalizer). */
static uint64_t start_of(const struct table *table, uint64_t id)
{
    id = (id ^ id >> 33) * 0xc4ceb9fe1a85ec53;
    return (id ^ id >> 33) & table->index_mask;
}

/* The place in the index that holds the id, or the free one where it would be. */
static uint64_t probe(const struct table *table, uint64_t id)
{
    const uint64_t *ids = table->ids.base;
    uint64_t at = start_of(table, id);
    while (table->index[at] != 0 && ids[table->index[at] - 1] != id)
        at = (at + 1) & table->index_mask;
    return at;
}

static void find_hashed(const struct table *table, struct rowlist *list)
{
    bool fresh = list->missing == list->count;
    uint32_t missing = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        if (i + LOOK_AHEAD < list->count)
            __builtin_prefetch(&table->index[start_of(table, list->ids[i + LOOK_AHEAD])]);
        if (fresh || list->rows[i] == ROW_NONE)
            list->rows[i] = table->index[probe(table, list->ids[i])] - 1; /* 0 - 1 is ROW_NONE */
        missing += list->rows[i] == ROW_NONE;
    }
    list->missing = missing;
}

void table_find(const struct table *table, struct rowlist *list)
{
    if (list->missing == 0)
        return;
    if (table->kind == TENSOR_HASHED) {
        find_hashed(table, list);
        return;
    }
    for (uint32_t i = 0; i < list->count; i++)
        list->rows[i] = (uint32_t)(list->ids[i] - table->first);
    list->missing = 0;
}

static dp_err grow_index(struct table *table)
{
    uint64_t size = (table->index_mask + 1) * 2;
    uint32_t *index = mem_array_zero(size, sizeof *index);
    const uint64_t *ids = table->ids.base;
    if (!index)
        return DP_NOMEM;
    free(table->index);
    table->index = index;
    table->index_mask = size - 1;
    for (uint32_t row = 0; row < table->count; row++)
        index[probe(table, ids[row])] = row + 1;
    return DP_OK;
}

/* Room for one more row. */
static dp_err grow(struct table *table)
{
    if (table->count == table->room) {
        size_t room = (size_t)table->room * 2;
        if (room >= ROW_NONE || pages_grow(&table->ids, room * sizeof(uint64_t)) ||
            pages_grow(&table->records, room * record_bytes(table)))
            return DP_NOMEM;
        table->room = (uint32_t)room;
    }
    return (uint64_t)table->count * 2 > table->index_mask ? grow_index(table) : DP_OK;
}

dp_err table_make(struct table *table, struct rowlist *list)
{
    table_find(table, list);
    for (uint32_t i = 0; list->missing > 0 && i < list->count; i++) {
        if (list->rows[i] != ROW_NONE)
            continue;
        if (grow(table))
            return DP_NOMEM;
        ((uint64_t *)table->ids.base)[table->count] = list->ids[i];
        list->rows[i] = table->count++;
        table->index[probe(table, list->ids[i])] = table->count;
        list->missing--;
    }
    return DP_OK;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct rowlist *table_sorted(const struct table *table)
{
    struct rowlist *list = rowlist_new(table->count);
    if (!list || table->count == 0)
        return list;
    memcpy(list->ids, table->ids.base, table->count * sizeof *list->ids);
    qsort(list->ids, table->count, sizeof *list->ids, by_id);
    return list;
}
