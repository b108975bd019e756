/* A CSV file that is being read. Thread: one. */
#ifndef DP_WORKER_DATA_CSV_STATE_H
#define DP_WORKER_DATA_CSV_STATE_H

#include "worker/data/csv/layout.h"
#include "worker/data/parse/set.h"
#include "worker/data/parse/text.h"

#define CSV_SKIP UINT64_MAX /* csv.to: a column that is not read */

struct csv {
    struct text text; /* line is that of the row being read */
    uint64_t line;    /* of text.at; ahead of text.line inside a quoted field with line breaks */
    struct text header;
    bool has_header;
    const struct data_source *source;
    struct data *data;
    char delimiter;
    uint64_t fields;   /* of the first row */
    uint64_t rows_max; /* that there is room for */
    uint64_t label;    /* column of the label, from 0; UINT64_MAX: none */
    bool lent;         /* names and to are not freed with the csv */
    bool unlabelled;   /* rows have no label that is read */
    char **names;      /* [fields] of the header, as a schema has them; NULL: there is none */
    uint64_t *to;      /* [fields] feature that a column is, or CSV_SKIP; the label's is not looked at */
    dp_error *err;
};

/* A field without the quotes and blanks around it; inside quotes, "" stands for a quote. */
struct field {
    const char *at;
    size_t n;
    bool quoted;
    bool last; /* of its row */
};

#endif
