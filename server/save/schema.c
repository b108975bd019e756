/* Metadata of the training data; see schema.h. Thread: any. */
#include "server/save/schema.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/tensor/schema.h"

static dp_err set_list(struct safetensors_meta *meta, const char *key, char *const *list, size_t count)
{
    if (count == 0)
        return DP_OK;
    char *text = schema_list_text(list, count);
    dp_err e = text ? safetensors_meta_set(meta, key, "%s", text) : DP_NOMEM;
    free(text);
    return e;
}

dp_err export_schema(const Dp__Schema *schema, struct safetensors_meta *meta)
{
    const char *format = schema ? schema_format_name((enum schema_format)schema->format) : NULL;
    dp_err e = format ? safetensors_meta_set(meta, "data_format", "%s", format) : DP_OK;
    if (!format || e)
        return e;
    e = set_list(meta, "feature_names", schema->names, schema->n_names);
    if (!e)
        e = set_list(meta, "ignored_columns", schema->ignored, schema->n_ignored);
    if (!e && schema->n_names && schema->label[0])
        e = safetensors_meta_set(meta, "label_name", "%s", schema->label);
    if (!e && schema->fields)
        e = safetensors_meta_set(meta, "csv_columns", "%" PRIu64, schema->fields);
    if (!e && schema->label_number)
        e = safetensors_meta_set(meta, "label_column", "%" PRIu64, schema->label_number - 1);
    return e;
}
