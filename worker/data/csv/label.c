/* The column of the label: that of --label-column, or the one whose name means a label, or the one that stands out.
 * Thread: any. */
#include "worker/data/csv/label.h"

#include <inttypes.h>
#include <string.h>

#include "worker/data/csv/guess.h"
#include "worker/data/csv/names.h"

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
