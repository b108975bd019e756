/* Columns of a CSV file, as one part of the file tells them to the others. Thread: any. */
#ifndef DP_WORKER_DATA_CSV_LAYOUT_H
#define DP_WORKER_DATA_CSV_LAYOUT_H

#include <stdint.h>

/* The use of each column. */
struct csv_layout {
    char delimiter;
    uint64_t fields;   /* of the first row */
    uint64_t features; /* of the data */
    uint64_t label;    /* column of the label, from 0; UINT64_MAX: none */
    char **names;      /* [fields] of the header, as a schema has them; NULL: there is none */
    uint64_t *to;      /* [fields] feature that a column is, or CSV_SKIP; the label's is not looked at */
};

/* Frees the columns that a part of a CSV file found. Accepts NULL. */
void csv_layout_free(struct csv_layout **layout);

#endif
