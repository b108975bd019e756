/* Schemas between the data readers and the library; see schema_told.h. Thread: any. */
#include "worker/run/schema_told.h"

const struct schema *schema_of_job(const dp_job *job, struct schema *schema)
{
    const dp_schema *from = job->schema;
    if (!from || from->format == SCHEMA_UNKNOWN || (from->name_count && from->name_count != job->features))
        return NULL;
    *schema = (struct schema){.format = (enum schema_format)from->format,
                              .count = job->features,
                              .names = from->name_count ? (char **)from->names : NULL,
                              .label = (char *)from->label,
                              .fields = from->fields,
                              .label_at = from->label_at,
                              .ignored = (char **)from->ignored,
                              .ignored_count = from->ignored_count};
    return schema;
}

dp_schema schema_told(const struct schema *schema, const char *note)
{
    return (dp_schema){.format = schema->format,
                       .names = (const char *const *)schema->names,
                       .name_count = schema->names ? schema->count : 0,
                       .label = schema->label,
                       .fields = schema->fields,
                       .label_at = schema->label_at,
                       .ignored = (const char *const *)schema->ignored,
                       .ignored_count = schema->ignored_count,
                       .note = note};
}
