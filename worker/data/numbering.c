/* Features that number the rows; see numbering.h. Thread: one. */
#include "worker/data/numbering.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROWS_LEAST = 10 }; /* fewer may be so by chance */

void numbering_add(struct numbering *numbering, const struct data *data)
{
    for (uint64_t r = 0; !data_is_sparse(data) && r < data->rows; r++) {
        float first = data->values[r * data->features];
        numbering->not_from_0 |= first != (float)(numbering->rows + r);
        numbering->not_from_1 |= first != (float)(numbering->rows + r + 1);
        if (numbering->not_from_0 && numbering->not_from_1)
            break;
    }
    numbering->rows += data->rows;
}

dp_err numbering_note(const struct numbering *numbering, struct data *data, dp_error *err)
{
    const struct schema *schema = &data->schema;
    bool first = schema->format == SCHEMA_CSV && data->label_at != 0;
    for (size_t i = 0; i < schema->ignored_count; i++)
        first &= schema->names != NULL || schema->ignored[i][0] != '0' || schema->ignored[i][1] != '\0';
    if (!first || data->note || numbering->rows < ROWS_LEAST || (numbering->not_from_0 && numbering->not_from_1))
        return DP_OK;
    char text[SCHEMA_LABEL_TEXT_BYTES];
    schema_label_text(schema->names ? schema->names[0] : NULL, 0, text);
    if (asprintf(&data->note,
                 "%s of %s, a feature, counts the rows: if it is an index, leave it out with --ignore-columns", text,
                 data->name) < 0) {
        data->note = NULL;
        return dp_fail(err, DP_NOMEM, "%s: out of memory", data->name);
    }
    return DP_OK;
}
