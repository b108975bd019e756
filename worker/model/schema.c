/* The schema in a model file: columns of the data that it was trained with. Invariant: names are distinct and as many
 * as the model's features, so that data can be matched with them. Thread: any. */
#include "worker/model/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "worker/data/parse/text.h"

static dp_err bad(const struct model_file *file, const char *key, const char *value, dp_error *err)
{
    char quote[QUOTE_MAX];
    return dp_fail(err, DP_MODEL, "%s: its metadata have '%s' = %s, which does not fit the model; export it again",
                   file->path, key, token_quote(quote, value, strlen(value)));
}

/* A number of a column; `dflt` where there is no such key. */
static dp_err number_read(const struct model_file *file, const struct safetensors_meta *meta, const char *key,
                          uint64_t dflt, uint64_t *ret_value, dp_error *err)
{
    const char *text = safetensors_meta_get(meta, key);
    char *after;
    *ret_value = dflt;
    if (!text)
        return DP_OK;
    errno = 0;
    *ret_value = strtoull(text, &after, 10);
    return !is_digit(text[0]) || errno || *after ? bad(file, key, text, err) : DP_OK;
}

static dp_err list_read(const struct model_file *file, const struct safetensors_meta *meta, const char *key,
                        char ***ret_list, size_t *ret_count, dp_error *err)
{
    const char *text = safetensors_meta_get(meta, key);
    if (!text)
        return DP_OK;
    *ret_list = schema_list_parse(text, SCHEMA_NAMES_MAX, ret_count);
    return *ret_list ? DP_OK : bad(file, key, text, err);
}

/* Distinct, none empty, none of them the label's, as many as features. */
static bool names_fit(const struct schema *schema, size_t count)
{
    if (!schema->names)
        return !schema->label;
    AUTOFREE uint64_t *sorted = schema_sort(schema->names, count);
    uint64_t at;
    bool good = sorted && count == schema->count;
    for (size_t i = 0; good && i < count; i++)
        good = schema->names[i][0] && (i == 0 || strcmp(schema->names[sorted[i - 1]], schema->names[sorted[i]]) != 0);
    return good && !(schema->label && schema_find(schema->names, sorted, count, schema->label, &at));
}

static dp_err csv_read(struct model_file *file, const struct safetensors_meta *meta, dp_error *err)
{
    struct schema *schema = &file->schema;
    const char *label = safetensors_meta_get(meta, "label_name");
    size_t count = 0;
    dp_err e = number_read(file, meta, "csv_columns", 0, &schema->fields, err);
    if (!e)
        e = number_read(file, meta, "label_column", SCHEMA_NO_LABEL, &schema->label_at, err);
    if (!e)
        e = list_read(file, meta, "ignored_columns", &schema->ignored, &schema->ignored_count, err);
    if (!e)
        e = list_read(file, meta, "feature_names", &schema->names, &count, err);
    if (e)
        return e;
    if (label && (strlen(label) > SCHEMA_NAME_BYTES_MAX || !text_printable(label, strlen(label))))
        return bad(file, "label_name", label, err);
    if (label && !(schema->label = strdup(label)))
        return dp_fail(err, DP_NOMEM, "%s: out of memory", file->path);
    if (schema->label_at != SCHEMA_NO_LABEL && schema->label_at >= schema->fields)
        return bad(file, "label_column", safetensors_meta_get(meta, "label_column"), err);
    return names_fit(schema, count)
               ? DP_OK
               : bad(file, schema->names ? "feature_names" : "label_name",
                     safetensors_meta_get(meta, schema->names ? "feature_names" : "label_name"), err);
}

dp_err model_schema_read(struct model_file *file, const struct safetensors_meta *meta, dp_error *err)
{
    const char *format = safetensors_meta_get(meta, "data_format");
    file->schema = (struct schema){.count = file->spec.features, .label_at = SCHEMA_NO_LABEL};
    for (enum schema_format f = SCHEMA_LIBSVM; format && f <= SCHEMA_IDX; f++)
        if (strcmp(format, schema_format_name(f)) == 0)
            file->schema.format = f;
    if (format && file->schema.format == SCHEMA_UNKNOWN)
        return bad(file, "data_format", format, err);
    return file->schema.format == SCHEMA_CSV ? csv_read(file, meta, err) : DP_OK;
}
