/* Columns of a CSV file: the label, features, and those that are not read. Training data say it themselves: the label
 * by --label-column, or by the one name that means a label; all others are features in their order. Data for a schema:
 * match.c. Thread: any. */
#include "worker/data/csv/columns.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/human.h"
#include "common/base/mem.h"
#include "worker/data/csv/feature_columns.h"
#include "worker/data/csv/label.h"
#include "worker/data/csv/match.h"
#include "worker/data/csv/names.h"

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

static dp_err features_check(struct csv *csv)
{
    uint64_t features = csv->data->features, wanted = csv->source->features;
    if (features == 0)
        return dp_fail(csv->err, DP_DATA, "%s: none of its %" PRIu64 " columns is a feature", csv->text.name,
                       csv->fields);
    if (wanted == 0 || wanted == features)
        return DP_OK;
    return dp_fail(csv->err, DP_DATA,
                   "%s: has %" PRIu64 " feature%s (%" PRIu64 " column%s, %s the label), but the job has %" PRIu64
                   "; take data of the same kind, or start dp-server with --features %" PRIu64,
                   csv->text.name, features, human_s(features), csv->fields, human_s(csv->fields),
                   csv->unlabelled ? "none of them" : "one of them", wanted, features);
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

void csv_columns_fini(struct csv *csv)
{
    if (csv->lent)
        return;
    free(csv->names);
    free(csv->to);
}
