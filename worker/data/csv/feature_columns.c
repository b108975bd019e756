/* The columns that are features; see feature_columns.h. Thread: any. */
#include "worker/data/csv/feature_columns.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"

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
