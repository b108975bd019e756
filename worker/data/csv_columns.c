/* Which column of a CSV file is what: the label, a feature, or one that is not read. Training data say it themselves:
 * the label by --label-column, or by the one name that means a label; all others are features in their order. Data for
 * a schema: csv_match.c. Thread: any. */
#include "worker/data/csv.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"

void csv_columns_fini(struct csv *csv)
{
    if (csv->lent)
        return;
    free(csv->names);
    free(csv->to);
}

/* ---- columns that are not read ---- */

/* Whether the schema has a feature or the label of this column's name. */
static bool is_wanted(const struct csv *csv, uint64_t column)
{
    const struct schema *want = csv->source->want;
    if (!want || !want->names || !csv->names)
        return false;
    for (uint64_t i = 0; i < want->count; i++)
        if (strcmp(want->names[i], csv->names[column]) == 0)
            return true;
    return want->label && strcmp(want->label, csv->names[column]) == 0;
}

/* One entry of --ignore-columns. Data for a schema need not have the column: its number may be that of another one. */
static dp_err ignore_one(struct csv *csv, const char *text)
{
    char name[CSV_NAME_BUF], columns[COLUMN_LIST_MAX], quote[QUOTE_MAX];
    uint64_t column;
    csv_name_of_text(text, name);
    if (!csv_name_find(csv, name, &column)) {
        bool number = csv_column_number(csv, text, &column);
        if (csv->source->want && (!number || is_wanted(csv, column)))
            return DP_OK;
        if (number) {
            csv->to[column] = CSV_SKIP;
            return DP_OK;
        }
        return dp_fail(csv->err, DP_DATA, "%s: --ignore-columns: %s is none of its %" PRIu64 " columns (%s)",
                       csv->text.name, token_quote(quote, text, strlen(text)), csv->fields,
                       csv_columns_text(csv, columns));
    }
    csv->to[column] = CSV_SKIP;
    return DP_OK;
}

/* All of the list; blanks around an entry are not part of it. */
static dp_err ignore_all(struct csv *csv)
{
    const char *list = csv->source->ignore;
    char *copy = strdup(list ? list : ""), *at = copy;
    if (!copy)
        return dp_fail(csv->err, DP_NOMEM, "%s: out of memory", csv->text.name);
    dp_err e = DP_OK;
    for (bool more = list != NULL; !e && more;) {
        size_t length = strcspn(at, ","), n = length;
        more = at[length] == ',';
        for (; n > 0 && at[n - 1] == ' '; n--)
            ;
        at[n] = '\0';
        e = ignore_one(csv, at + strspn(at, " "));
        at += length + 1;
    }
    free(copy);
    return e;
}

/* ---- the label ---- */

static dp_err label_by_option(struct csv *csv)
{
    const char *wanted = csv->source->label_column;
    char name[CSV_NAME_BUF], columns[COLUMN_LIST_MAX];
    csv_name_of_text(wanted, name);
    if (csv_name_find(csv, name, &csv->label) || csv_column_number(csv, wanted, &csv->label))
        return DP_OK;
    return dp_fail(csv->err, DP_DATA,
                   "%s: --label-column '%.60s' is none of its %" PRIu64 " columns; give 0 to %" PRIu64
                   ", -1 for the last, or a name of the header (%s)",
                   csv->text.name, wanted, csv->fields, csv->fields - 1, csv_columns_text(csv, columns));
}

uint64_t csv_labels_named(const struct csv *csv, uint64_t at[2])
{
    uint64_t count = 0;
    for (uint64_t i = 0; csv->names && i < csv->fields; i++)
        if (schema_names_label(csv->names[i]) && csv->to[i] != CSV_SKIP) {
            if (count < 2)
                at[count] = i;
            count++;
        }
    return count;
}

static dp_err label_ask(struct csv *csv, uint64_t named, const uint64_t at[2])
{
    const char *none = csv->source->label_optional ? ", or --no-labels if there is none" : "";
    char columns[COLUMN_LIST_MAX], first[COLUMN_TEXT_MAX], second[COLUMN_TEXT_MAX];
    if (!csv->names)
        return dp_fail(csv->err, DP_DATA,
                       "%s: has no header that would say which of its %" PRIu64
                       " columns is the label; give --label-column N, 0 for the first, -1 for the last%s",
                       csv->text.name, csv->fields, none);
    if (named > 1)
        return dp_fail(csv->err, DP_DATA, "%s: %s and %s may both be the label; say which is, with --label-column%s",
                       csv->text.name, csv_column_text(csv, at[0], first), csv_column_text(csv, at[1], second), none);
    return dp_fail(csv->err, DP_DATA,
                   "%s: no column is named label, target, class or y; say which is the label, with --label-column%s "
                   "(%s)",
                   csv->text.name, none, csv_columns_text(csv, columns));
}

dp_err csv_label_find(struct csv *csv)
{
    uint64_t at[2] = {0}, named = csv_labels_named(csv, at);
    csv->label = UINT64_MAX;
    if (csv->unlabelled)
        return DP_OK;
    if (csv->fields < 2)
        return text_fail(&csv->header, csv->err,
                         "one column only; a row needs a label and at least one feature, "
                         "separated by ',' ';' or tab");
    if (csv->source->label_column) {
        dp_err e = label_by_option(csv);
        char column[COLUMN_TEXT_MAX];
        if (!e && csv->to[csv->label] == CSV_SKIP)
            return dp_fail(csv->err, DP_DATA, "%s: %s is the label, and --ignore-columns leaves it out", csv->text.name,
                           csv_column_text(csv, csv->label, column));
        return e;
    }
    if (named == 0 && csv_label_stands_out(csv, &csv->label))
        return csv_note(csv,
                        "%s has no header; the label is taken to be column %" PRIu64
                        ", the only one without fractions; --label-column says otherwise",
                        csv->text.name, csv->label);
    if (named != 1)
        return label_ask(csv, named, at);
    csv->label = at[0];
    return DP_OK;
}

/* ---- columns of training data ---- */

/* A column without a name is an index that pandas or R wrote, or cannot be found again. */
static dp_err check_named(struct csv *csv)
{
    char column[COLUMN_TEXT_MAX];
    for (uint64_t i = 0; i < csv->fields; i++)
        if (csv->to[i] != CSV_SKIP && (!csv->names[i][0] || strncmp(csv->names[i], "Unnamed: ", 9) == 0))
            return text_fail(&csv->header, csv->err,
                             "%s has no name%s: save without it (pandas: index=False), give it a name, or leave it "
                             "out: --ignore-columns %" PRIu64,
                             csv_column_text(csv, i, column), i ? "" : " (an index column, as pandas and R write it?)",
                             i);
    return DP_OK;
}

dp_err csv_check_distinct(struct csv *csv)
{
    AUTOFREE uint64_t *sorted = schema_sort(csv->names, csv->fields);
    char quote[QUOTE_MAX];
    if (!sorted)
        return dp_fail(csv->err, DP_NOMEM, "%s: out of memory", csv->text.name);
    for (uint64_t i = 0, before = UINT64_MAX; i < csv->fields; i++) {
        uint64_t column = sorted[i];
        if (csv->to[column] == CSV_SKIP)
            continue;
        if (before != UINT64_MAX && strcmp(csv->names[before], csv->names[column]) == 0)
            return text_fail(&csv->header, csv->err,
                             "columns %" PRIu64 " and %" PRIu64
                             " are both named %s; rename one, or leave it out with --ignore-columns %" PRIu64,
                             MIN(before, column), MAX(before, column),
                             token_quote(quote, csv->names[column], strlen(csv->names[column])), MAX(before, column));
        before = column;
    }
    return DP_OK;
}

uint64_t csv_features_number(struct csv *csv)
{
    uint64_t count = 0;
    for (uint64_t i = 0; i < csv->fields; i++)
        if (i != csv->label && csv->to[i] != CSV_SKIP)
            csv->to[i] = count++;
    return count;
}

static dp_err features_check(struct csv *csv)
{
    uint64_t features = csv->data->features, wanted = csv->source->features;
    if (features == 0)
        return dp_fail(csv->err, DP_DATA, "%s: none of its %" PRIu64 " columns is a feature", csv->text.name,
                       csv->fields);
    if (wanted == 0 || wanted == features)
        return DP_OK;
    return dp_fail(csv->err, DP_DATA,
                   "%s: has %" PRIu64 " features (%" PRIu64 " columns, %s the label), but the job has %" PRIu64
                   "; take data of the same kind, or start dp-server with --features %" PRIu64,
                   csv->text.name, features, csv->fields, csv->unlabelled ? "none of them" : "one of them", wanted,
                   features);
}

dp_err csv_schema_fill(struct csv *csv)
{
    struct schema *schema = &csv->data->schema;
    const bool named = csv->names != NULL;
    AUTOFREE char **names = mem_array(csv->fields, sizeof *names), **ignored = mem_array(csv->fields, sizeof *ignored);
    AUTOFREE char(*numbers)[24] = mem_array(named ? 0 : csv->fields, sizeof *numbers);
    bool good = names && ignored && numbers;
    *schema = (struct schema){.format = SCHEMA_CSV, .fields = csv->fields, .label_at = csv->label};
    for (uint64_t i = 0; good && i < csv->fields; i++) {
        if (!named)
            snprintf(numbers[i], sizeof numbers[i], "%" PRIu64, i);
        char *name = named ? csv->names[i] : numbers[i];
        if (i != csv->label && csv->to[i] == CSV_SKIP)
            ignored[schema->ignored_count++] = name;
        else if (i != csv->label)
            names[schema->count++] = name;
    }
    good = good && (!named || (schema->names = schema_list_copy(names, schema->count)));
    good = good && (schema->ignored = schema_list_copy(ignored, schema->ignored_count));
    good = good && (!named || csv->label == UINT64_MAX || (schema->label = strdup(csv->names[csv->label])));
    return good ? DP_OK : dp_fail(csv->err, DP_NOMEM, "%s: out of memory", csv->text.name);
}

static dp_err settle_own(struct csv *csv)
{
    csv->unlabelled = csv->source->unlabelled;
    dp_err e = csv_label_find(csv);
    if (!e && csv->names)
        e = check_named(csv);
    if (!e && csv->names)
        e = csv_check_distinct(csv);
    csv->data->features = csv_features_number(csv);
    if (!e)
        e = features_check(csv);
    return e ? e : csv_schema_fill(csv);
}

/* For the parts of the file that come after this one; it takes names and to. */
static dp_err layout_keep(struct csv *csv)
{
    struct csv_layout *layout = mem_array(1, sizeof *layout);
    if (!layout)
        return dp_fail(csv->err, DP_NOMEM, "%s: out of memory", csv->text.name);
    *layout = (struct csv_layout){csv->delimiter, csv->fields, csv->data->features, csv->label, csv->names, csv->to};
    csv->data->layout = layout;
    csv->lent = true;
    return DP_OK;
}

void csv_layout_take(struct csv *csv, const struct csv_layout *layout)
{
    csv->delimiter = layout->delimiter;
    csv->fields = layout->fields;
    csv->label = csv->data->label_at = layout->label;
    csv->names = layout->names;
    csv->to = layout->to;
    csv->data->features = layout->features;
    csv->lent = true;
}

void csv_layout_free(struct csv_layout **ref)
{
    struct csv_layout *layout = *ref;
    if (layout) {
        free(layout->names);
        free(layout->to);
    }
    free(layout);
    *ref = NULL;
}

dp_err csv_columns_settle(struct csv *csv)
{
    const struct data_source *source = csv->source;
    dp_err e = csv->has_header ? csv_names_read(csv) : DP_OK;
    csv->to = mem_array_zero(csv->fields, sizeof *csv->to);
    if (!csv->to)
        e = dp_fail(csv->err, DP_NOMEM, "%s: out of memory", csv->text.name);
    if (!e)
        e = ignore_all(csv);
    if (!e)
        e = source->want ? csv_columns_match(csv) : settle_own(csv);
    csv->data->label_at = csv->label;
    if (!e && csv->names && csv->label != UINT64_MAX && !(csv->data->label_name = strdup(csv->names[csv->label])))
        e = dp_fail(csv->err, DP_NOMEM, "%s: out of memory", csv->text.name);
    return !e && source->part ? layout_keep(csv) : e;
}
