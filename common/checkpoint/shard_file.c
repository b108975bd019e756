/* A shard's file of a checkpoint; see shard_file.h. Its metadata have all that it says of itself as one text, "dp",
 * from which the head of the file can be made again: a head that differs from that is refused as a whole. Thread: any.
 */
#include "common/checkpoint/shard_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/checkpoint/hex.h"

enum {
    LENGTH_BYTES = 8,
    ALIGN = 64,
    ROW_WORDS = 3, /* id low, id high, stamp */
    PARTS_MAX = TENSOR_COUNT_MAX * TABLE_BLOCKS_MAX,
    ARRIVALS_MAX = 1 << 20,
    OPEN_MAX = 64,
    NAME_MAX_BYTES = TENSOR_NAME_MAX + 24,
};
static const char FORMAT[] = "dp-checkpoint-1";
static const size_t HEAD_BYTES_MAX = (size_t)256 << 20;
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

static size_t accepted_bytes(const struct shard_file_facts *facts)
{
    return (facts->slots + 7) / 8;
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
        json_t *entry =
            json_pack("[I, I, o, o]", (json_int_t)a->first, (json_int_t)a->count,
                      json_list(a->open, sums_json, a->sums), hex_bytes(a->accepted, a->open * accepted_bytes(facts)));
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

static char *facts_text(const struct shard_file_facts *f)
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

/* ---- the head ---- */

uint64_t shard_file_row_words(const struct shard_file_facts *facts, const struct shard_file_part *part)
{
    return ROW_WORDS + (uint64_t)part->dim * (1 + facts->states + (part->current ? 1 : 0));
}

uint64_t shard_file_row_theta(const struct shard_file_facts *facts, const struct shard_file_part *part)
{
    return ROW_WORDS + (part->current ? (uint64_t)part->dim * (1 + facts->states) : 0);
}

static dp_err add_tensor(json_t *json, const char *name, const char *type, json_t *shape, uint64_t words, uint64_t *at)
{
    const uint64_t end = *at + 4 * words;
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", type, "shape", shape, "data_offsets", (json_int_t)*at,
                              (json_int_t)end);
    *at = end;
    return json_object_set_new(json, name, entry) ? DP_NOMEM : DP_OK;
}

/* theta for state -1. */
static dp_err add_ranges(json_t *json, const struct shard_file_facts *facts, int state, uint64_t *at)
{
    char name[NAME_MAX_BYTES];
    dp_err e = DP_OK;
    for (uint32_t i = 0; !e && i < facts->range_count; i++) {
        const struct shard_file_range *range = &facts->ranges[i];
        if (state < 0)
            (void)str_copy(name, sizeof name, range->tensor);
        else
            snprintf(name, sizeof name, "%s.state%d", range->tensor, state);
        e = add_tensor(json, name, "F32", json_pack("[I]", (json_int_t)range->count), range->count, at);
    }
    return e;
}

static dp_err add_parts(json_t *json, const struct shard_file_facts *facts, uint64_t *at)
{
    char name[NAME_MAX_BYTES];
    dp_err e = DP_OK;
    for (uint32_t i = 0; !e && i < facts->part_count; i++) {
        const struct shard_file_part *part = &facts->parts[i];
        uint64_t words = shard_file_row_words(facts, part);
        snprintf(name, sizeof name, "%s.rows.%" PRIu32, part->tensor, i);
        json_t *shape = json_pack("[I, I]", (json_int_t)part->rows, (json_int_t)words);
        e = add_tensor(json, name, "U32", shape, part->rows * words, at);
    }
    return e;
}

static json_t *head_json(const struct shard_file_facts *facts)
{
    char *text = facts_text(facts);
    json_t *json = text ? json_pack("{s:{s:s, s:s}}", "__metadata__", "format", FORMAT, "dp", text) : NULL;
    uint64_t at = 0;
    dp_err e = json ? add_ranges(json, facts, -1, &at) : DP_NOMEM;
    for (uint32_t state = 0; !e && state < facts->states; state++)
        e = add_ranges(json, facts, (int)state, &at);
    if (!e)
        e = add_parts(json, facts, &at);
    free(text);
    if (e) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* Bytes that slots of open steps need at least, as text. */
static uint64_t arrival_bytes(const struct shard_file_facts *facts)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < facts->arrival_count; i++)
        bytes += 2 * facts->arrivals[i].open * accepted_bytes(facts);
    return bytes;
}

/* 8 bytes of length, little-endian; the text; blanks up to a multiple of 64. */
dp_err shard_file_head(const struct shard_file_facts *facts, char **ret_head, size_t *ret_bytes)
{
    if (arrival_bytes(facts) > HEAD_BYTES_MAX)
        return DP_RANGE;
    json_t *json = head_json(facts);
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    if (!text)
        return DP_NOMEM;
    size_t length = strlen(text), bytes = (LENGTH_BYTES + length + ALIGN - 1) / ALIGN * ALIGN;
    if (bytes > HEAD_BYTES_MAX) { /* nobody could read it */
        free(text);
        return DP_RANGE;
    }
    char *head = mem_array(bytes, 1);
    uint64_t told = bytes - LENGTH_BYTES;
    if (head) {
        for (int i = 0; i < LENGTH_BYTES; i++)
            head[i] = (char)(unsigned char)(told >> 8 * i);
        memset(head + LENGTH_BYTES, ' ', bytes - LENGTH_BYTES);
        memcpy(head + LENGTH_BYTES, text, length);
        *ret_head = head;
        *ret_bytes = bytes;
    }
    free(text);
    return head ? DP_OK : DP_NOMEM;
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
    return bytes == a->open * accepted_bytes(f);
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

static bool read_facts(const json_t *json, struct shard_file_facts *f)
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

/* ---- reading the head ---- */

/* Bytes of all values; UINT64_MAX where they are more than a file can have. */
static uint64_t value_bytes(const struct shard_file_facts *f)
{
    uint64_t words = 0, more;
    for (uint32_t i = 0; i < f->range_count; i++)
        if (__builtin_mul_overflow(f->ranges[i].count, (uint64_t)1 + f->states, &more) ||
            __builtin_add_overflow(words, more, &words))
            return UINT64_MAX;
    for (uint32_t i = 0; i < f->part_count; i++)
        if (__builtin_mul_overflow(f->parts[i].rows, shard_file_row_words(f, &f->parts[i]), &more) ||
            __builtin_add_overflow(words, more, &words))
            return UINT64_MAX;
    return words > INT64_MAX / 8 ? UINT64_MAX : 4 * words;
}

static bool read_head(const char *text, size_t length, struct shard_file_facts *facts)
{
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
    const char *inner = json_string_value(json_object_get(json_object_get(json, "__metadata__"), "dp"));
    json_t *told = inner ? json_loads(inner, JSON_REJECT_DUPLICATES, NULL) : NULL;
    bool right = told && read_facts(told, facts);
    json_decref(told);
    json_decref(json);
    return right;
}

/* Whether the head is the one that a server writes for these facts. */
static bool same_head(const struct shard_file_facts *facts, const char *data, size_t bytes)
{
    char *head;
    size_t length;
    if (value_bytes(facts) == UINT64_MAX || shard_file_head(facts, &head, &length))
        return false;
    bool same = length == bytes && memcmp(head, data, bytes) == 0;
    free(head);
    return same;
}

static uint64_t told_length(const unsigned char *data)
{
    uint64_t length = 0;
    for (int i = LENGTH_BYTES; i-- > 0;)
        length = length << 8 | data[i];
    return length;
}

dp_err shard_file_parse(const char *name, const void *data, size_t bytes, uint64_t file_bytes,
                        struct shard_file *ret_file, dp_error *err)
{
    struct shard_file file = {.fd = -1, .values_at = bytes};
    if (bytes < LENGTH_BYTES || told_length(data) != bytes - LENGTH_BYTES ||
        !read_head((const char *)data + LENGTH_BYTES, bytes - LENGTH_BYTES, &file.facts) ||
        !same_head(&file.facts, data, bytes)) {
        shard_file_facts_fini(&file.facts);
        return dp_fail(err, DP_DATA, "%.400s: is no file of a checkpoint of this version of dp, or its head is damaged",
                       name);
    }
    uint64_t needed = bytes + value_bytes(&file.facts);
    file.name = needed == file_bytes ? strdup(name) : NULL;
    if (!file.name) {
        shard_file_facts_fini(&file.facts);
        if (needed == file_bytes)
            return dp_fail(err, DP_NOMEM, "out of memory to read %.400s", name);
        return dp_fail(err, DP_DATA, "%.400s: is damaged: it has %" PRIu64 " bytes, its head says %" PRIu64, name,
                       file_bytes, needed);
    }
    *ret_file = file;
    return DP_OK;
}

static bool read_all(int fd, void *to, size_t bytes, uint64_t at)
{
    char *next = to;
    while (bytes > 0) {
        ssize_t n = pread(fd, next, bytes, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        next += n;
        bytes -= (size_t)n;
        at += (uint64_t)n;
    }
    return true;
}

static dp_err cannot_read(const char *name, dp_error *err)
{
    return dp_fail(err, DP_IO, "%.400s: cannot be read: %s", name, errno ? strerror(errno) : "it ends too soon");
}

static dp_err open_head(int fd, const char *path, struct shard_file *ret_file, dp_error *err)
{
    struct stat st;
    unsigned char first[LENGTH_BYTES];
    errno = 0;
    if (fstat(fd, &st) || !read_all(fd, first, sizeof first, 0))
        return cannot_read(path, err);
    uint64_t length = told_length(first), most = MIN((uint64_t)st.st_size, (uint64_t)HEAD_BYTES_MAX);
    if (length > most - LENGTH_BYTES)
        return dp_fail(err, DP_DATA, "%.400s: is damaged: its head has %" PRIu64 " bytes", path, length);
    size_t bytes = LENGTH_BYTES + (size_t)length;
    char *head = mem_array(bytes, 1);
    dp_err e = head ? DP_OK : dp_fail(err, DP_NOMEM, "out of memory to read %.400s", path);
    if (!e && !read_all(fd, head, bytes, 0))
        e = cannot_read(path, err);
    if (!e)
        e = shard_file_parse(path, head, bytes, (uint64_t)st.st_size, ret_file, err);
    free(head);
    return e;
}

dp_err shard_file_open(const char *path, struct shard_file *ret_file, dp_error *err)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return dp_fail(err, DP_IO, "%.400s: cannot be opened: %s", path, strerror(errno));
    dp_err e = open_head(fd, path, ret_file, err);
    if (e)
        close(fd);
    else
        ret_file->fd = fd;
    return e;
}

void shard_file_close(struct shard_file *file)
{
    if (file->name && file->fd >= 0)
        close(file->fd);
    free(file->name);
    shard_file_facts_fini(&file->facts);
    *file = (struct shard_file){.fd = -1};
}

/* ---- values ---- */

/* Words of theta, and of each state. */
static uint64_t dense_words(const struct shard_file_facts *facts)
{
    uint64_t words = 0;
    for (uint32_t i = 0; i < facts->range_count; i++)
        words += facts->ranges[i].count;
    return words;
}

dp_err shard_file_read(const struct shard_file *file, uint32_t range, int state, uint64_t first, uint64_t count,
                       float *to, dp_error *err)
{
    uint64_t at = (uint64_t)(state + 1) * dense_words(&file->facts) + first;
    for (uint32_t i = 0; i < range; i++)
        at += file->facts.ranges[i].count;
    errno = 0;
    return read_all(file->fd, to, count * sizeof *to, file->values_at + 4 * at) ? DP_OK : cannot_read(file->name, err);
}

dp_err shard_file_read_rows(const struct shard_file *file, uint32_t part, uint64_t first, uint64_t count, uint32_t *to,
                            dp_error *err)
{
    const struct shard_file_facts *facts = &file->facts;
    uint64_t words = shard_file_row_words(facts, &facts->parts[part]);
    uint64_t at = (1 + (uint64_t)facts->states) * dense_words(facts) + first * words;
    for (uint32_t i = 0; i < part; i++)
        at += facts->parts[i].rows * shard_file_row_words(facts, &facts->parts[i]);
    errno = 0;
    return read_all(file->fd, to, count * words * sizeof *to, file->values_at + 4 * at) ? DP_OK
                                                                                        : cannot_read(file->name, err);
}
