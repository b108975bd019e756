/* Reading a data set: which reader it is for, and what all formats share. Thread: any. */
#include "worker/data/data.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "worker/data/csv/csv.h"
#include "worker/data/csv/head.h"
#include "worker/data/csv/layout.h"
#include "worker/data/fingerprint.h"
#include "worker/data/foreign.h"
#include "worker/data/idx.h"
#include "worker/data/libsvm.h"
#include "worker/data/load.h"
#include "worker/data/numbering.h"
#include "worker/data/parse/text.h"

static const char *format_name(enum data_format format)
{
    static const char *const NAMES[] = {"auto", "libsvm", "csv", "idx"};
    return NAMES[format];
}

/* Whether the line has a token INDEX: behind its first one, or begins with one. */
static bool line_has_index(const char *at, const char *eol)
{
    for (const char *p = at; p < eol; p++) {
        const char *token = p;
        while (p < eol && is_digit(*p))
            p++;
        if (p > token && p < eol && *p == ':')
            return true;
        while (p < eol && *p != ' ' && *p != '\t')
            p++;
    }
    return false;
}

/* The format of a text: that of the first line that tells. Not sure: it has what both formats have, or nothing that
 * tells them apart. */
static enum data_format text_detect(const char *path, const void *bytes, size_t size, bool *ret_sure)
{
    struct text text;
    text_init(&text, path, bytes, size);
    while (text.at < text.end) {
        size_t left = (size_t)(text.end - text.at);
        const char *newline = memchr(text.at, '\n', left);
        const char *eol = newline ? newline : text.end;
        const char *comment = memchr(text.at, '#', (size_t)(eol - text.at));
        size_t n = (size_t)((comment ? comment : eol) - text.at);
        bool separated = memchr(text.at, ',', n) || memchr(text.at, ';', n), colon = memchr(text.at, ':', n);
        bool index = line_has_index(text.at, text.at + n);
        *ret_sure = index ? !separated : separated && !colon;
        if (index)
            return DATA_LIBSVM;
        if (separated)
            return DATA_CSV;
        if (colon)
            return DATA_LIBSVM;
        text.at = newline ? newline + 1 : text.end;
    }
    *ret_sure = false;
    return DATA_CSV;
}

enum data_format data_format(const struct data_source *source, const void *bytes, size_t size, bool *ret_sure)
{
    bool sure = true;
    enum data_format format = source->format;
    if (format == DATA_AUTO)
        format = idx_detect(bytes, size) ? DATA_IDX : text_detect(source->path, bytes, size, &sure);
    if (ret_sure)
        *ret_sure = sure;
    return format;
}

/* Options that mean nothing to the format: a mistake of usage, unless it takes a look at the file to see it. */
static dp_err source_check(const struct data_source *source, enum data_format format, dp_error *err)
{
    dp_err wrong = source->format == DATA_AUTO ? DP_DATA : DP_USAGE;
    if (source->label_column && format != DATA_CSV)
        return dp_fail(err, wrong, "%s: --label-column is for CSV files, and this is read as %s", source->path,
                       format_name(format));
    if (source->unlabelled && (source->label_column || source->labels_path))
        return dp_fail(err, DP_USAGE, "%s: --no-labels says that rows have none, and --label%s where they are",
                       source->path, source->label_column ? "-column" : "s");
    if (source->labels_path && format != DATA_IDX)
        return dp_fail(err, wrong, "%s: --labels is for IDX files, and this is read as %s", source->path,
                       format_name(format));
    if (format != DATA_CSV && (source->header != DATA_HEADER_AUTO || source->ignore))
        return dp_fail(err, wrong, "%s: --%s is for CSV files, and this is read as %s", source->path,
                       source->ignore ? "ignore-columns" : "header", format_name(format));
    if (source->hash_bits && format != DATA_LIBSVM)
        return dp_fail(err, wrong, "%s: features are hashed, which is for LIBSVM files, and this is read as %s",
                       source->path, format_name(format));
    return DP_OK;
}

/* The first row is names of columns, so that the file is CSV for certain. */
static bool has_names(enum data_format format, const struct data_source *source, const void *bytes, size_t size)
{
    struct csv_head head;
    dp_error unused;
    bool found = format == DATA_CSV && csv_head_read(source, bytes, size, &head, &unused) == DP_OK;
    return found && (memchr(bytes, ',', head.header_bytes) || memchr(bytes, ';', head.header_bytes) ||
                     memchr(bytes, '\t', head.header_bytes));
}

/* Parses a text; what an error says more: that the file is of a kind that is not read, or that its format was a guess
 * of which no row has come yet. */
static dp_err text_parse(enum data_format format, bool sure, const struct data_source *source, const void *bytes,
                         size_t size, struct data *data, dp_error *err)
{
    const char *foreign = foreign_binary(bytes, size);
    if (foreign)
        return dp_fail(err, DP_DATA, "%s: %s", source->path, foreign);
    dp_err e = format == DATA_LIBSVM ? libsvm_parse(source, bytes, size, data, err)
                                     : csv_parse(source, bytes, size, data, err);
    if (e != DP_DATA || !err)
        return e;
    foreign = foreign_text(bytes, size);
    if (foreign)
        return dp_fail(err, e, "%s; %s", err->text, foreign);
    if (!sure && data->rows == 0 && !has_names(format, source, bytes, size))
        return dp_fail(err, e, "%s (read as %s by its content; --format overrides)", err->text, format_name(format));
    return e;
}

/* LIBSVM and IDX number their features, which go by that where the schema has names. */
static dp_err schema_settle(const struct data_source *source, enum data_format format, struct data *data, dp_error *err)
{
    const struct schema *want = source->want;
    if (!want || want->format == SCHEMA_UNKNOWN) {
        data->schema =
            (struct schema){.format = (enum schema_format)format, .count = data->features, .label_at = SCHEMA_NO_LABEL};
        return DP_OK;
    }
    if (schema_copy(want, &data->schema))
        return dp_fail(err, DP_NOMEM, "%s: out of memory", source->path);
    enum schema_format own = (enum schema_format)format;
    bool scaled = (own == SCHEMA_IDX) != (want->format == SCHEMA_IDX);
    if ((!want->names && !scaled) || data->note)
        return DP_OK;
    int made =
        want->names
            ? asprintf(&data->note,
                       "the features of %s, which is %s, are taken in their order for '%.60s' to '%.60s' of %s%s",
                       source->path, format_name(format), want->names[0], want->names[want->count - 1], source->want_of,
                       scaled ? DATA_SCALED_HINT : "")
            : asprintf(&data->note, "%s is %s, and %s is not%s", source->path, format_name(format), source->want_of,
                       DATA_SCALED_HINT);
    if (made < 0) {
        data->note = NULL;
        return dp_fail(err, DP_NOMEM, "%s: out of memory", source->path);
    }
    return DP_OK;
}

static dp_err look_for_numbering(struct data *data, dp_error *err)
{
    struct numbering numbering = {0};
    numbering_add(&numbering, data);
    return numbering_note(&numbering, data, err);
}

dp_err data_parse(const struct data_source *source, const void *bytes, size_t size, const void *labels,
                  size_t labels_size, struct data *ret_data, dp_error *err)
{
    if (size == 0)
        return dp_fail(err, DP_DATA, "%s: is empty; a LIBSVM, CSV or IDX file is needed", source->path);
    bool sure;
    enum data_format format = data_format(source, bytes, size, &sure);
    dp_err e = source_check(source, format, err);
    if (e)
        return e;
    struct data data = {.name = strdup(source->path), .label_at = SCHEMA_NO_LABEL};
    if (!data.name)
        return dp_fail(err, DP_NOMEM, "%s: out of memory", source->path);
    e = format == DATA_IDX ? idx_parse(source, bytes, size, labels, labels_size, &data, err)
                           : text_parse(format, sure, source, bytes, size, &data, err);
    if (!e && format != DATA_CSV)
        e = schema_settle(source, format, &data, err);
    else if (!e && !source->want && !source->part)
        e = look_for_numbering(&data, err);
    if (e)
        data_fini(&data);
    else
        *ret_data = data;
    return e;
}

/* An IDX file with the label file that is named or belongs to it. */
static dp_err idx_read(const struct data_source *source, const char *bytes, size_t size, struct data *ret_data,
                       dp_error *err)
{
    AUTOFREE char *derived = NULL;
    AUTOFREE char *labels = NULL;
    struct data_source with_labels = *source;
    dp_err e = DP_OK;
    size_t labels_size = 0;
    if (source->unlabelled)
        return data_parse(source, bytes, size, NULL, 0, ret_data, err);
    if (!source->labels_path) {
        e = idx_labels_path(source->path, &derived, err);
        with_labels.labels_path = derived;
    }
    if (!e)
        e = data_load(with_labels.labels_path, source->stop, &labels, &labels_size, err);
    if (e == DP_IO && derived)
        e = dp_fail(err, e, "%s (the label file of %s; give its name with --labels)", err ? err->text : "",
                    source->path);
    return e ? e : data_parse(&with_labels, bytes, size, labels, labels_size, ret_data, err);
}

dp_err data_read(const struct data_source *source, struct data *ret_data, dp_error *err)
{
    AUTOFREE char *bytes = NULL;
    size_t size = 0;
    dp_err e = data_load(source->path, source->stop, &bytes, &size, err);
    if (e)
        return e;
    if (size && data_format(source, bytes, size, NULL) == DATA_IDX)
        return idx_read(source, bytes, size, ret_data, err);
    return data_parse(source, bytes, size, NULL, 0, ret_data, err);
}

void data_fini(struct data *data)
{
    free(data->name);
    free(data->labels);
    free(data->classes);
    if (data->label_set)
        label_set_fini(data->label_set);
    free(data->label_set);
    free(data->values);
    free(data->row_at);
    free(data->columns);
    schema_fini(&data->schema);
    csv_layout_free(&data->layout);
    free(data->label_name);
    free(data->note);
    *data = (struct data){0};
}

uint64_t data_fingerprint(const struct data *data)
{
    struct fingerprint fingerprint;
    fingerprint_begin(&fingerprint);
    fingerprint_add(&fingerprint, data);
    return fingerprint_end(&fingerprint);
}
