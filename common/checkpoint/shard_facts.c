/* The facts of a shard's file as text; see shard_facts.h. Thread: any. */
#include "common/checkpoint/shard_facts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/checkpoint/hex.h"

enum {
    ROW_WORDS = 3, /* id low, id high, stamp */
    PARTS_MAX = TENSOR_COUNT_MAX * TABLE_BLOCKS_MAX,
    ARRIVALS_MAX = 1 << 20,
    OPEN_MAX = 64,
};
static const uint64_t ELEMS_MAX = UINT64_C(1) << 40;

void shard_file_facts_fini(struct shard_file_facts *facts)
{
    for (uint32_t i = 0; facts->arrivals && i < facts->arrival_count; i++) {
        free(facts->arrivals[i].sums);
        free(facts->arrivals[i].accepted);
    }
    free(facts->arrivals);
    free(facts->ranges);
    free(facts->parts);
    *facts = (struct shard_file_facts){0};
}

size_t shard_facts_accepted_bytes(const struct shard_file_facts *facts)
{
    return (facts->slots + 7) / 8;
}

uint64_t shard_file_row_words(const struct shard_file_facts *facts, const struct shard_file_part *part)
{
    return ROW_WORDS + (uint64_t)part->dim * (1 + facts->states + (part->current ? 1 : 0));
}

uint64_t shard_file_row_theta(const struct shard_file_facts *facts, const struct shard_file_part *part)
{
    return ROW_WORDS + (part->current ? (uint64_t)part->dim * (1 + facts->states) : 0);
}

/* ---- facts as JSON ---- */

static json_t *range_json(const void *list, size_t i)
{
    const struct shard_file_range *r = (const struct shard_file_range *)list + i;
    return json_pack("[s, I, I]", r->tensor, (json_int_t)r->first, (json_int_t)r->count);
}

static json_t *part_json(const void *list, size_t i)
{
    const struct shard_file_part *p = (const struct shard_file_part *)list + i;
    json_t *json = json_pack("[s, o, o, I, I]", p->tensor, hex_number(p->first), hex_number(p->last),
                             (json_int_t)p->rows, (json_int_t)p->dim);
    if (json && p->current && json_array_append_new(json, json_true())) {
        json_decref(json);
        return NULL;
    }
    return json;
}

static json_t *sums_json(const void *list, size_t i)
{
    const struct metrics *m = (const struct metrics *)list + i;
    return json_pack("[I, o, I]", (json_int_t)m->count, hex_double(m->loss), (json_int_t)m->correct);
}

static json_t *arrivals_json(const struct shard_file_facts *facts)
{
    json_t *json = json_array();
    for (uint32_t i = 0; json && i < facts->arrival_count; i++) {
        const struct shard_file_arrivals *a = &facts->arrivals[i];
        json_t *entry = json_pack("[I, I, o, o]", (json_int_t)a->first, (json_int_t)a->count,
                                  json_list(a->open, sums_json, a->sums),
                                  hex_bytes(a->accepted, a->open * shard_facts_accepted_bytes(facts)));
        if (json_array_append_new(json, entry)) {
            json_decref(json);
            return NULL;
        }
    }
    return json;
}

static json_t *double_json(const void *list, size_t i)
{
    return hex_double(((const double *)list)[i]);
}

/* Zeros at the end of a list, whose sign is plus, are left out. */
static json_t *doubles_json(const double *list, size_t count)
{
    uint64_t bits = 0;
    for (; count > 0; count--) {
        memcpy(&bits, &list[count - 1], sizeof bits);
        if (bits != 0)
            break;
    }
    return json_list(count, double_json, list);
}

char *shard_facts_text(const struct shard_file_facts *f)
{
    const struct multipliers *m = &f->multipliers;
    json_t *json = json_pack("{s:I, s:I, s:I, s:I, s:I, s:s, s:o, s:o, s:o, s:o, s:o, s:o}", "step",
                             (json_int_t)f->step, "train_step", (json_int_t)f->train_step, "shard",
                             (json_int_t)f->shard, "slots", (json_int_t)f->slots, "states", (json_int_t)f->states,
                             "rule", f->rule, "ranges", json_list(f->range_count, range_json, f->ranges), "parts",
                             json_list(f->part_count, part_json, f->parts), "arrivals", arrivals_json(f), "mu",
                             doubles_json(m->mu, ARRAY_LEN(m->mu)), "rho", doubles_json(m->rho, ARRAY_LEN(m->rho)),
                             "last", doubles_json(m->last, ARRAY_LEN(m->last)));
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

/* ---- reading facts ---- */

static bool read_name(const json_t *json, char name[TENSOR_NAME_MAX])
{
    const char *text = json_string_value(json);
    return text && text[0] && text_printable(text, strlen(text)) && str_copy(name, TENSOR_NAME_MAX, text);
}

static bool read_u32(const json_t *json, uint32_t most, uint32_t *ret_number)
{
    uint64_t number;
    if (!json_read_count(json, most, &number))
        return false;
    *ret_number = (uint32_t)number;
    return true;
}

static bool read_ranges(const json_t *json, struct shard_file_facts *f)
{
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count > TENSOR_COUNT_MAX)
        return false;
    f->ranges = mem_array_zero(count, sizeof *f->ranges);
    for (; f->ranges && f->range_count < count; f->range_count++) {
        const json_t *entry = json_array_get(json, f->range_count);
        struct shard_file_range *r = &f->ranges[f->range_count];
        if (!read_name(json_array_get(entry, 0), r->tensor) ||
            !json_read_count(json_array_get(entry, 1), ELEMS_MAX, &r->first) ||
            !json_read_count(json_array_get(entry, 2), ELEMS_MAX, &r->count))
            return false;
    }
    return f->ranges != NULL;
}

static bool read_parts(const json_t *json, struct shard_file_facts *f)
{
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count > PARTS_MAX)
        return false;
    f->parts = mem_array_zero(count, sizeof *f->parts);
    for (; f->parts && f->part_count < count; f->part_count++) {
        const json_t *entry = json_array_get(json, f->part_count);
        struct shard_file_part *p = &f->parts[f->part_count];
        if (!read_name(json_array_get(entry, 0), p->tensor) || !hex_read_number(json_array_get(entry, 1), &p->first) ||
            !hex_read_number(json_array_get(entry, 2), &p->last) || p->last < p->first ||
            !json_read_count(json_array_get(entry, 3), UINT32_MAX, &p->rows) ||
            !read_u32(json_array_get(entry, 4), TENSOR_DIM_MAX, &p->dim) || p->dim == 0)
            return false;
        p->current = json_is_true(json_array_get(entry, 5));
    }
    return f->parts != NULL;
}

static bool read_sums(const json_t *json, struct shard_file_arrivals *a)
{
    a->sums = mem_array_zero(a->open, sizeof *a->sums);
    for (uint64_t i = 0; a->sums && i < a->open; i++) {
        const json_t *entry = json_array_get(json, i);
        struct metrics *m = &a->sums[i];
        if (!json_read_count(json_array_get(entry, 0), INT64_MAX, &m->count) ||
            !hex_read_double(json_array_get(entry, 1), &m->loss) ||
            !json_read_count(json_array_get(entry, 2), INT64_MAX, &m->correct))
            return false;
    }
    return a->sums != NULL;
}

static bool read_arrival(const json_t *entry, const struct shard_file_facts *f, struct shard_file_arrivals *a)
{
    const json_t *sums = json_array_get(entry, 2);
    size_t bytes;
    void *accepted;
    a->open = json_array_size(sums);
    if (!json_is_array(sums) || a->open > OPEN_MAX ||
        !json_read_count(json_array_get(entry, 0), ELEMS_MAX, &a->first) ||
        !json_read_count(json_array_get(entry, 1), ELEMS_MAX, &a->count) || !read_sums(sums, a) ||
        !hex_read_bytes(json_array_get(entry, 3), &accepted, &bytes))
        return false;
    a->accepted = accepted;
    return bytes == a->open * shard_facts_accepted_bytes(f);
}

static bool read_arrivals(const json_t *json, struct shard_file_facts *f)
{
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count > ARRIVALS_MAX)
        return false;
    f->arrivals = mem_array_zero(count, sizeof *f->arrivals);
    for (; f->arrivals && f->arrival_count < count;) {
        size_t i = f->arrival_count++; /* the part that was read is freed */
        if (!read_arrival(json_array_get(json, i), f, &f->arrivals[i]))
            return false;
    }
    return f->arrivals != NULL;
}

static bool read_doubles(const json_t *json, double *list, size_t room)
{
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count > room)
        return false;
    for (size_t i = 0; i < count; i++)
        if (!hex_read_double(json_array_get(json, i), &list[i]))
            return false;
    return true;
}

bool shard_facts_read(const json_t *json, struct shard_file_facts *f)
{
    const char *rule = json_string_value(json_object_get(json, "rule"));
    struct multipliers *m = &f->multipliers;
    return rule && str_copy(f->rule, sizeof f->rule, rule) &&
           json_read_count(json_object_get(json, "step"), INT64_MAX, &f->step) &&
           json_read_count(json_object_get(json, "train_step"), INT64_MAX, &f->train_step) &&
           read_u32(json_object_get(json, "shard"), UINT32_MAX, &f->shard) &&
           read_u32(json_object_get(json, "slots"), SHARD_FILE_SLOTS_MAX, &f->slots) &&
           read_u32(json_object_get(json, "states"), SHARD_FILE_STATES_MAX, &f->states) &&
           read_ranges(json_object_get(json, "ranges"), f) && read_parts(json_object_get(json, "parts"), f) &&
           read_arrivals(json_object_get(json, "arrivals"), f) &&
           read_doubles(json_object_get(json, "mu"), m->mu, ARRAY_LEN(m->mu)) &&
           read_doubles(json_object_get(json, "rho"), m->rho, ARRAY_LEN(m->rho)) &&
           read_doubles(json_object_get(json, "last"), m->last, ARRAY_LEN(m->last));
}
