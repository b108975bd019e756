/* A CSV file for a schema, that of a model or of a job: its columns are found by name where both have names, else by
 * place, where the number of columns has to fit. Nothing is assumed without a note. Thread: any. */
#include "worker/data/csv/match.h"

#include <inttypes.h>
#include <string.h>

#include "common/base/human.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "worker/data/csv/feature_columns.h"
#include "worker/data/csv/label.h"
#include "worker/data/csv/names.h"

enum { SHOWN_NAMES = 3 };

/* ---- by name ---- */

/* The label is that of the schema, wherever it stands. */
static dp_err label_by_schema(struct csv *csv)
{
    const struct data_source *source = csv->source;
    const struct schema *want = source->want;
    char columns[COLUMN_LIST_MAX], text[SCHEMA_LABEL_TEXT_BYTES];
    if (source->label_column || !want->label)
        return csv_label_find(csv);
    if (csv_name_find(csv, want->label, &csv->label)) {
        csv->to[csv->label] = CSV_SKIP;
        if (source->unlabelled)
            csv->label = UINT64_MAX;
        csv->unlabelled = source->unlabelled;
        return DP_OK;
    }
    csv->label = UINT64_MAX;
    csv->unlabelled = true;
    schema_label_text(want->label, 0, text);
    if (source->unlabelled)
        return DP_OK;
    if (source->label_optional)
        return csv_note(csv, "%s has no %s, so its rows are taken as without labels", csv->text.name, text);
    return dp_fail(csv->err, DP_DATA, "%s: has no %s, the label of %.150s; --label-column says which is it here (%s)",
                   csv->text.name, text, source->want_of, csv_columns_text(csv, columns));
}

/* Why a column that the file has is no feature: "" for one that it has not. */
static const char *use_of(const struct csv *csv, const char *name)
{
    uint64_t at;
    if (!csv_name_find(csv, name, &at))
        return "";
    return at == csv->label ? " (taken as the label)" : " (left out by --ignore-columns)";
}

/* Features that the file lacks, the first few by name. */
static dp_err missing_fail(struct csv *csv, const bool *seen)
{
    const struct schema *want = csv->source->want;
    char text[SHOWN_NAMES * (QUOTE_MAX + 40)] = "", quote[QUOTE_MAX], columns[COLUMN_LIST_MAX];
    uint64_t missing = 0;
    size_t used = 0;
    for (uint64_t i = 0; i < want->count; i++)
        if (!seen[i] && missing++ < SHOWN_NAMES)
            (void)str_append(text, sizeof text, &used, "%s%s%s", used ? ", " : "",
                             token_quote(quote, want->names[i], strlen(want->names[i])), use_of(csv, want->names[i]));
    return dp_fail(csv->err, DP_DATA, "%s: lacks %" PRIu64 " column%s of %.150s: %s%s (its columns: %s)",
                   csv->text.name, missing, missing == 1 ? "" : "s", csv->source->want_of, text,
                   missing > SHOWN_NAMES ? ", ..." : "", csv_columns_text(csv, columns));
}

/* A column that the schema lacks; `extras` are those that were passed over before. */
static dp_err extra_take(struct csv *csv, uint64_t column, char *extras[SHOWN_NAMES], uint64_t *count)
{
    char text[COLUMN_TEXT_MAX];
    csv->to[column] = CSV_SKIP;
    if (!csv->source->extra_ignored)
        return text_fail(&csv->header, csv->err, "%s is not among the columns of %.150s; %s",
                         csv_column_text(csv, column, text), csv->source->want_of,
                         csv->source->extra_option ? "--extra-features ignore passes over such columns"
                                                   : "--ignore-columns leaves it out");
    if (*count < SHOWN_NAMES)
        extras[*count] = csv->names[column];
    ++*count;
    return DP_OK;
}

/* Whether the schema's own job left this column out. */
static bool is_ignored(const struct schema *want, const char *name)
{
    for (size_t i = 0; i < want->ignored_count; i++)
        if (strcmp(want->ignored[i], name) == 0)
            return true;
    return false;
}

static dp_err twice_fail(struct csv *csv, uint64_t column)
{
    char quote[QUOTE_MAX];
    uint64_t other = column + 1; /* columns are looked at from the last to the first; the label may stand before */
    while (other < csv->fields && strcmp(csv->names[other], csv->names[column]) != 0)
        other++;
    if (other == csv->fields)
        (void)csv_name_find(csv, csv->names[column], &other);
    return text_fail(&csv->header, csv->err, "columns %" PRIu64 " and %" PRIu64 " are both named %s; rename one",
                     MIN(column, other), MAX(column, other),
                     token_quote(quote, csv->names[column], strlen(csv->names[column])));
}

/* Puts the columns that the schema has in place; *ret_extra is the first of those that it lacks. */
static dp_err match_wanted(struct csv *csv, const uint64_t *sorted, bool *seen, uint64_t *ret_extra)
{
    const struct schema *want = csv->source->want;
    uint64_t found = 0, at = 0;
    for (uint64_t i = csv->fields; i-- > 0;) {
        if (i == csv->label || csv->to[i] == CSV_SKIP)
            continue;
        if (schema_find(want->names, sorted, want->count, csv->names[i], &at)) {
            if (seen[at])
                return twice_fail(csv, i);
            seen[at] = true;
            csv->to[i] = at;
            found++;
        } else if (is_ignored(want, csv->names[i])) {
            csv->to[i] = CSV_SKIP;
        } else if (want->label && !csv->source->label_column && strcmp(csv->names[i], want->label) == 0) {
            return twice_fail(csv, i);
        } else {
            *ret_extra = i;
        }
    }
    return found < want->count ? missing_fail(csv, seen) : DP_OK;
}

static dp_err match_names(struct csv *csv, const uint64_t *sorted, bool *seen)
{
    const struct schema *want = csv->source->want;
    char *extras[SHOWN_NAMES], text[COLUMN_LIST_MAX];
    uint64_t extra = csv->fields, count = 0, at;
    dp_err e = match_wanted(csv, sorted, seen, &extra);
    for (uint64_t i = extra; !e && i < csv->fields; i++)
        if (i != csv->label && csv->to[i] != CSV_SKIP &&
            !schema_find(want->names, sorted, want->count, csv->names[i], &at))
            e = extra_take(csv, i, extras, &count);
    if (e || count == 0)
        return e;
    return csv_note(csv, "%" PRIu64 " column%s of %s that %s lacks %s passed over: %s%s", count, count == 1 ? "" : "s",
                    csv->text.name, csv->source->want_of, count == 1 ? "is" : "are",
                    csv_list_text(extras, MIN(count, (uint64_t)SHOWN_NAMES), text), count > SHOWN_NAMES ? ", ..." : "");
}

static dp_err match_by_name(struct csv *csv)
{
    const struct schema *want = csv->source->want;
    AUTOFREE uint64_t *sorted = schema_sort(want->names, want->count);
    AUTOFREE bool *seen = mem_array_zero(want->count, sizeof *seen);
    if (!sorted || !seen)
        return dp_fail(csv->err, DP_NOMEM, "%s: out of memory", csv->text.name);
    dp_err e = label_by_schema(csv);
    return e ? e : match_names(csv, sorted, seen);
}

/* ---- by place ---- */

/* Columns that the schema's own job left out, by their numbers, which are those of a row with a label. */
static dp_err ignore_by_place(struct csv *csv, bool labelled)
{
    const struct schema *want = csv->source->want;
    if (want->names && want->ignored_count > 0)
        return dp_fail(csv->err, DP_DATA,
                       "%s: %s leaves out columns by their names (%s and so on); give a file with a header",
                       csv->text.name, csv->source->want_of, want->ignored[0]);
    const struct csv row = {.fields = csv->fields + !labelled};
    for (size_t i = 0; i < want->ignored_count; i++) {
        uint64_t column = 0;
        bool there = csv_column_number(&row, want->ignored[i], &column);
        column -= !labelled && column > want->label_at;
        if (there && column < csv->fields)
            csv->to[column] = CSV_SKIP;
    }
    return DP_OK;
}

/* A name says that the label is elsewhere than the schema's number does. */
static dp_err check_label_name(struct csv *csv)
{
    uint64_t at[2] = {0};
    char named[COLUMN_TEXT_MAX];
    if (csv_labels_named(csv, at) != 1 || at[0] == csv->label)
        return DP_OK;
    return dp_fail(csv->err, DP_DATA,
                   "%s: %s is named like a label, and that of %s is column %" PRIu64 "; say which, with --label-column",
                   csv->text.name, csv_column_text(csv, at[0], named), csv->source->want_of, csv->label);
}

static dp_err fields_fail(struct csv *csv)
{
    const struct schema *want = csv->source->want;
    const bool unlabelled = csv->source->unlabelled, lacks = csv->fields + 1 == want->fields;
    const char *hint = unlabelled && csv->fields == want->fields ? "; leave --no-labels away"
                       : lacks && csv->source->label_optional    ? "; if its rows have no label, say --no-labels"
                       : lacks                                   ? "; without labels only predict can take it"
                                                                 : "";
    return dp_fail(csv->err, DP_DATA,
                   "%s: has %" PRIu64 " columns, but %.150s was trained with %" PRIu64 ", the label (column %" PRIu64
                   ") among them%s",
                   csv->text.name, csv->fields, csv->source->want_of, want->fields, want->label_at, hint);
}

/* The schema knows where in a row the label is. */
static dp_err label_by_place(struct csv *csv)
{
    const struct data_source *source = csv->source;
    const struct schema *want = source->want;
    const bool without = source->unlabelled || source->label_optional;
    uint64_t at[2];
    if (source->label_column) {
        dp_err e = ignore_by_place(csv, true);
        return e ? e : csv_label_find(csv);
    }
    if (csv->fields == want->fields && !source->unlabelled) {
        csv->label = want->label_at;
        dp_err e = ignore_by_place(csv, true);
        return e ? e : check_label_name(csv);
    }
    if (csv->fields + 1 != want->fields || !without)
        return fields_fail(csv);
    if (!source->unlabelled && (want->ignored_count > 0 || csv_labels_named(csv, at) > 0))
        return fields_fail(csv); /* the column that is not there may be another one */
    csv->label = UINT64_MAX;
    csv->unlabelled = true;
    dp_err e = ignore_by_place(csv, false);
    if (e || source->unlabelled)
        return e;
    return csv_note(csv, "%s has one column less than %s, so its rows are taken as without labels", csv->text.name,
                    source->want_of);
}

static uint64_t columns_kept(const struct csv *csv)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < csv->fields; i++)
        count += i != csv->label && csv->to[i] != CSV_SKIP;
    return count;
}

/* The schema knows how many features there are: rows may have a label besides, which the file or an option names. */
static dp_err label_besides(struct csv *csv)
{
    const struct data_source *source = csv->source;
    uint64_t at[2];
    csv->label = UINT64_MAX;
    csv->unlabelled = source->unlabelled;
    if (!source->unlabelled && source->label_optional && !source->label_column && csv_labels_named(csv, at) == 0 &&
        columns_kept(csv) == source->want->count) {
        csv->unlabelled = true;
        return csv_note(csv, "%s has as many columns as %s has features, so its rows are taken as without labels",
                        csv->text.name, source->want_of);
    }
    return csv_label_find(csv);
}

/* Rows that lack one column, or have one more, may be with or without a label that was not expected. */
static const char *label_hint(const struct csv *csv, uint64_t features)
{
    const struct data_source *source = csv->source;
    uint64_t wanted = source->want->count;
    if (!source->unlabelled && features + 1 == wanted)
        return "; if its rows have no label, predict takes them with --no-labels";
    return source->unlabelled && features == wanted + 1 ? "; if its rows have a label, leave --no-labels away" : "";
}

static dp_err note_place(struct csv *csv)
{
    const struct schema *want = csv->source->want;
    const char *of = csv->source->want_of, *name = csv->text.name;
    char quote[2][QUOTE_MAX];
    if (want->names)
        return csv_note(csv, "the columns of %s are taken in their order for %s to %s of %s", name,
                        token_quote(quote[0], want->names[0], strlen(want->names[0])),
                        token_quote(quote[1], want->names[want->count - 1], strlen(want->names[want->count - 1])), of);
    if (csv->names || want->format != SCHEMA_CSV)
        return csv_note(csv, "%s stores no column names, so the columns of %s are taken in their order%s", of, name,
                        want->format == SCHEMA_IDX ? DATA_SCALED_HINT : "");
    return DP_OK;
}

static dp_err match_by_place(struct csv *csv)
{
    const struct schema *want = csv->source->want;
    if (want->names && !csv->names && csv->source->header != DATA_HEADER_OFF)
        return dp_fail(csv->err, DP_DATA,
                       "%s: has no header, and %.150s knows its columns by name; give a file with a header, or "
                       "--header off to take the columns in their order",
                       csv->text.name, csv->source->want_of);
    dp_err e = csv->names ? csv_check_distinct(csv) : DP_OK;
    bool placed = want->format == SCHEMA_CSV && want->fields && want->label_at != SCHEMA_NO_LABEL;
    if (!e)
        e = placed ? label_by_place(csv) : label_besides(csv);
    uint64_t features = e ? 0 : csv_features_number(csv);
    if (!e && features != want->count)
        e = dp_fail(csv->err, DP_DATA,
                    "%s: has %" PRIu64 " feature%s, but %.150s has %" PRIu64
                    "; take data of the kind that it was trained with%s",
                    csv->text.name, features, human_s(features), csv->source->want_of, want->count,
                    label_hint(csv, features));
    return e ? e : note_place(csv);
}

dp_err csv_columns_match(struct csv *csv)
{
    const struct schema *want = csv->source->want;
    csv->unlabelled = csv->source->unlabelled;
    dp_err e = want->names && csv->names ? match_by_name(csv) : match_by_place(csv);
    csv->data->features = want->count;
    if (e || want->format == SCHEMA_UNKNOWN)
        return e ? e : csv_schema_fill(csv);
    return schema_copy(want, &csv->data->schema) ? dp_fail(csv->err, DP_NOMEM, "%s: out of memory", csv->text.name)
                                                 : DP_OK;
}
