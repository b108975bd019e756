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

enum {
    LENGTH_BYTES = 8,
    ALIGN = 64,
    NAME_MAX_BYTES = TENSOR_NAME_MAX + 24,
};
static const char FORMAT[] = "dp-checkpoint-1";
static const size_t HEAD_BYTES_MAX = (size_t)256 << 20;

/* ---- the head ---- */

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
    char *text = shard_facts_text(facts);
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
        bytes += 2 * facts->arrivals[i].open * shard_facts_accepted_bytes(facts);
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
    bool right = told && shard_facts_read(told, facts);
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
