/* LIBSVM (svmlight) text: `label index:value index:value ...` a line, indices from 1 and ascending, '#' begins a
 * comment, blank lines are skipped. Indices that are hashed are any 64-bit numbers in any order. Invariant: every array
 * is as long as the text can need, counted beforehand, so that nothing grows while reading. Thread: any. */
#include "worker/data/libsvm.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/mem_room.h"
#include "common/base/util.h"
#include "worker/data/hash.h"
#include "worker/data/parse/label.h"
#include "worker/data/parse/number.h"
#include "worker/data/parse/text.h"

struct libsvm {
    struct text text; /* `end` is the end of the file; at is within the line */
    const char *eol;  /* end of the line's content: before a comment and the newline */
    struct data *data;
    uint64_t features;    /* asked for, or 0 */
    uint64_t passed_over; /* entries of features beyond these */
    uint32_t hash_bits;
    uint64_t hash_seed;
    const struct data_source *source;
    uint64_t entries;
    uint64_t widest; /* the largest index so far */
    dp_error *err;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

static void blanks_skip(struct libsvm *file)
{
    while (file->text.at < file->eol && is_blank(*file->text.at))
        file->text.at++;
}

/* Length of the token that begins here. */
static size_t token_length(const struct libsvm *file)
{
    const char *p = file->text.at;
    while (p < file->eol && !is_blank(*p))
        p++;
    return (size_t)(p - file->text.at);
}

static bool token_ends(const struct libsvm *file, const char *after)
{
    return after && (after == file->eol || is_blank(*after));
}

/* Whether the line's first token of n characters, A:B, can only be LABEL:WEIGHT: A is no index, or the index behind it
 * is not larger. */
static bool label_is_weighted(const struct libsvm *file, size_t n)
{
    const char *next = file->text.at + n;
    float label, index;
    const char *after = number_scan(file->text.at, file->eol, &label);
    if (n >= 4 && memcmp(file->text.at, "qid:", 4) == 0)
        return false;
    if (!after || *after != ':' || label < 1 || memchr(file->text.at, '.', (size_t)(after - file->text.at)))
        return true;
    while (next < file->eol && is_blank(*next))
        next++;
    after = number_scan(next, file->eol, &index);
    return after && after < file->eol && *after == ':' && index <= label;
}

static dp_err label_fail(struct libsvm *file, const char *fault)
{
    char quote[QUOTE_MAX];
    const char *token = file->text.at;
    size_t n = token_length(file);
    token_quote(quote, token, n);
    if (memchr(token, ':', n) && label_is_weighted(file, n))
        return text_fail(&file->text, file->err,
                         "the line begins with %s, a label with a weight of its row; weights of samples are not "
                         "supported: keep the label alone",
                         quote);
    if (memchr(token, ':', n))
        return text_fail(&file->text, file->err,
                         "the line begins with %s, so its label is missing: write LABEL %s; if it is LABEL:WEIGHT, "
                         "weights of samples are not supported: keep the label alone",
                         quote, quote);
    if (memchr(token, ',', n))
        return text_fail(&file->text, file->err, "label %s: several labels on one line are not supported; keep one",
                         quote);
    return text_fail(&file->text, file->err, "label %s %s", quote, fault);
}

/* Hashed ones are any 64-bit numbers, in any order. */
static uint64_t index_max(const struct libsvm *file)
{
    return file->hash_bits ? UINT64_MAX : UINT32_MAX;
}

static uint32_t index_column(const struct libsvm *file, uint64_t index)
{
    return file->hash_bits ? data_hash_column(index, file->hash_bits, file->hash_seed) : (uint32_t)(index - 1);
}

/* The label at the line's beginning. In unlabelled data a line that does not begin with an index has a label all the
 * same, which is passed over: users may predict with either kind of file. */
static dp_err label_take(struct libsvm *file)
{
    const char *token = file->text.at, *fault = NULL;
    size_t n = token_length(file);
    bool unlabelled = file->source->unlabelled, there = !memchr(token, ':', n) && !memchr(token, ',', n);
    dp_err e =
        there || unlabelled ? row_label_take(file->source, file->data, token, n, file->text.line, &fault) : DP_DATA;
    if (e == DP_NOMEM)
        return dp_fail(file->err, e, "%s: out of memory for its labels", file->text.name);
    if (e)
        return label_fail(file, fault);
    if (there)
        file->text.at += n;
    return DP_OK;
}

/* The token at `text.at` is not INDEX:VALUE with an index in range. */
static dp_err index_fail(struct libsvm *file, bool too_large)
{
    char quote[QUOTE_MAX];
    const char *token = file->text.at;
    size_t n = token_length(file);
    token_quote(quote, token, n);
    if (n >= 4 && memcmp(token, "qid:", 4) == 0)
        return text_fail(&file->text, file->err, "%s: query ids are for ranking, which no model does; remove them",
                         quote);
    if (too_large)
        return text_fail(&file->text, file->err, "%s: the index is larger than %" PRIu64 "%s", quote, index_max(file),
                         file->hash_bits ? "" : "; dp-server --hash-bits N takes any 64-bit number");
    return text_fail(&file->text, file->err, "%s is not INDEX:VALUE with an index of %d or more", quote,
                     file->hash_bits ? 0 : 1);
}

/* The number before the colon at *at, which is left behind it. */
static dp_err index_scan(struct libsvm *file, const char **at, uint64_t *ret_index)
{
    const uint64_t max = index_max(file);
    uint64_t index = 0;
    bool too_large = false;
    const char *p = *at;
    for (; p < file->eol && is_digit(*p); p++)
        too_large |= __builtin_mul_overflow(index, 10, &index) ||
                     __builtin_add_overflow(index, (uint64_t)(*p - '0'), &index) || index > max;
    if (p == *at || p == file->eol || *p != ':' || too_large)
        return index_fail(file, too_large);
    *at = p + 1;
    *ret_index = index;
    return DP_OK;
}

static dp_err beyond_fail(struct libsvm *file, uint64_t index)
{
    const struct data_source *source = file->source;
    if (source->want_of && source->extra_option)
        return text_fail(&file->text, file->err,
                         "index %" PRIu64 ", but %.150s has %" PRIu64
                         " features; take data of the same kind, or --extra-features ignore to pass over others",
                         index, source->want_of, file->features);
    return text_fail(&file->text, file->err,
                     "index %" PRIu64 ", but the job has %" PRIu64
                     " features; take data of the same kind, or start dp-server with --features %" PRIu64 " or more",
                     index, file->features, index);
}

/* The index of the entry, checked; `*at` is left behind its colon. */
static dp_err index_read(struct libsvm *file, uint64_t last, const char **at, uint64_t *ret_index)
{
    uint64_t index = 0;
    dp_err e = index_scan(file, at, &index);
    *ret_index = index;
    if (e || file->hash_bits)
        return e;
    if (index == 0)
        return text_fail(&file->text, file->err,
                         "index 0: LIBSVM indices begin with 1; add 1 to every index of the file");
    if (index <= last)
        return text_fail(&file->text, file->err, "index %" PRIu64 " after %" PRIu64 ": %s", index, last,
                         index == last ? "an index may stand once in a line; remove one of them"
                                       : "indices must be ascending; sort the line");
    if (file->features && index > file->features && !file->source->extra_ignored)
        return beyond_fail(file, index);
    return DP_OK;
}

/* One INDEX:VALUE at `text.at`; `last` is the index before it. */
static dp_err entry_read(struct libsvm *file, uint64_t *last)
{
    const char *p = file->text.at;
    uint64_t index = 0;
    dp_err e = index_read(file, *last, &p, &index);
    if (e)
        return e;
    float value;
    const char *after = number_scan(p, file->eol, &value);
    if (!token_ends(file, after)) {
        char quote[QUOTE_MAX];
        size_t n = token_length(file) - (size_t)(p - file->text.at);
        return text_fail(&file->text, file->err, "the value %s of index %" PRIu64 " %s", token_quote(quote, p, n),
                         index, number_fault(p, n));
    }
    file->text.at = after;
    *last = index;
    if (file->features && !file->hash_bits && index > file->features) {
        file->passed_over++;
        return DP_OK;
    }
    file->data->columns[file->entries] = index_column(file, index);
    file->data->values[file->entries++] = value;
    return DP_OK;
}

static dp_err line_read(struct libsvm *file)
{
    struct data *data = file->data;
    blanks_skip(file);
    if (file->text.at == file->eol)
        return DP_OK;
    dp_err e = label_take(file);
    if (e)
        return e;
    uint64_t last = 0;
    for (blanks_skip(file); file->text.at < file->eol; blanks_skip(file)) {
        e = entry_read(file, &last);
        if (e)
            return e;
    }
    file->widest = MAX(file->widest, last);
    data->row_at[++data->rows] = file->entries;
    return DP_OK;
}

static dp_err lines_read(struct libsvm *file)
{
    while (file->text.at < file->text.end) {
        if (file->text.line % STOP_LINES == 0 && data_stopped(file->source->stop, file->err))
            return DP_STOPPED;
        const char *newline = memchr(file->text.at, '\n', (size_t)(file->text.end - file->text.at));
        const char *line_end = newline ? newline : file->text.end;
        const char *comment = memchr(file->text.at, '#', (size_t)(line_end - file->text.at));
        file->eol = comment ? comment : line_end;
        dp_err e = line_read(file);
        if (e)
            return e;
        file->text.at = newline ? newline + 1 : file->text.end;
        file->text.line++;
    }
    return DP_OK;
}

dp_err libsvm_parse(const struct data_source *source, const void *bytes, size_t size, struct data *data, dp_error *err)
{
    struct libsvm file = {.data = data,
                          .features = source->features,
                          .hash_bits = source->hash_bits,
                          .hash_seed = source->hash_seed,
                          .source = source,
                          .err = err};
    text_init(&file.text, source->path, bytes, size);
    file.text.line = MAX(source->first_line, 1);
    uint64_t rows_max = text_count(&file.text, '\n') + 1;
    uint64_t entries_max = text_count(&file.text, ':');
    if (mem_check_room(file.text.name,
                       rows_max * (sizeof *data->labels + sizeof *data->row_at) +
                           entries_max * (sizeof *data->columns + sizeof *data->values),
                       err))
        return DP_NOMEM;
    bool labelled = row_labels_room(source, rows_max, data);
    data->row_at = mem_array(rows_max + 1, sizeof *data->row_at);
    data->columns = mem_array(entries_max, sizeof *data->columns);
    data->values = mem_array(entries_max, sizeof *data->values);
    if (!labelled || !data->row_at || !data->columns || !data->values)
        return dp_fail(err, DP_NOMEM, "%s: not enough memory for its %" PRIu64 " entries", file.text.name, entries_max);
    data->row_at[0] = 0;
    dp_err e = lines_read(&file);
    assert(data->rows <= rows_max && file.entries <= entries_max);
    if (e)
        return e;
    if (data->rows == 0)
        return dp_fail(err, DP_DATA, "%s: has no rows, only blank lines or comments", file.text.name);
    if (source->hash_bits) {
        data->features = UINT64_C(1) << source->hash_bits;
        return data_hash_settle(data, err);
    }
    data->features = source->features ? source->features : file.widest;
    if (file.passed_over &&
        asprintf(&data->note, "%" PRIu64 " entr%s of %s with an index above %" PRIu64 " %s passed over",
                 file.passed_over, file.passed_over == 1 ? "y" : "ies", file.text.name, data->features,
                 file.passed_over == 1 ? "is" : "are") < 0) {
        data->note = NULL;
        return dp_fail(err, DP_NOMEM, "%s: out of memory", file.text.name);
    }
    if (data->features == 0 && !source->part)
        return dp_fail(err, DP_DATA,
                       "%s: no row has a feature; write LABEL INDEX:VALUE ..., or start dp-server with --features",
                       file.text.name);
    return DP_OK;
}
