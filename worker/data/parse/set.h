/* A data set in memory, and the file that it is read from. Thread: any; a read set is immutable. */
#ifndef DP_WORKER_DATA_PARSE_SET_H
#define DP_WORKER_DATA_PARSE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tensor/schema.h"
#include "worker/data/parse/label_set.h"

enum data_format { DATA_AUTO, DATA_LIBSVM, DATA_CSV, DATA_IDX }; /* order of the --format choices */
/* Ends a note on data of two formats, one of them IDX. */
#define DATA_SCALED_HINT "; bytes of IDX are scaled by 1/255, and numbers of other formats are not"

/* The use of labels: numbers to be fitted (linear), classes (any labels), or none: they are passed over. */
enum label_use { LABEL_VALUES, LABEL_CLASSES, LABEL_PASSED };

struct data {
    char *name;                  /* file name as given */
    uint64_t rows;               /* >= 1 */
    uint64_t features;           /* columns; for LIBSVM the largest index seen, or the number asked for */
    float *labels;               /* [rows] LABEL_VALUES: the floats nearest to those of the file; else NULL */
    uint32_t *classes;           /* [rows] LABEL_CLASSES: number of the row's label in label_set; else NULL */
    struct label_set *label_set; /* LABEL_CLASSES; NULL in a part of a set, where the whole has it */
    /* dense: values[rows * features] row-major, cache-line aligned; row_at and columns are NULL.
     * sparse (CSR): row r holds entries row_at[r] .. row_at[r + 1] of columns (0-based, ascending) and values. */
    float *values;
    uint64_t *row_at;
    uint32_t *columns;
    struct schema schema;      /* of the file; where it was matched with a schema, that one */
    uint64_t label_at;         /* CSV: the label's column in this file; SCHEMA_NO_LABEL: there is none */
    char *label_name;          /* CSV: its name in this file; NULL: it has none */
    char *note;                /* an assumption that was made in reading, for people; NULL: none */
    struct csv_layout *layout; /* CSV, part of a file: for the other parts; else NULL */
};

/* Whether the first row of a CSV file has the names of the columns. */
enum data_header { DATA_HEADER_AUTO, DATA_HEADER_ON, DATA_HEADER_OFF }; /* order of the --header choices */

struct data_source {
    const char *path;
    enum data_format format;
    enum data_header header;
    const char *label_column; /* CSV: a name of the header or a 0-based number, negative from the end; NULL: the one
                                 column named label, target, class or y */
    const char *ignore;       /* CSV: columns that are not read: names or numbers, comma-separated; NULL: none */
    const char *labels_path;  /* IDX: the label file; NULL: derived from the name (images-idx3 -> labels-idx1) */
    uint64_t features; /* 0: as found; else a file with more is an error (CSV, IDX: a file with another number is) */
    /* Not 0: feature indices, which may then be any 64-bit numbers, are hashed to 2^hash_bits columns; LIBSVM only.
     * `features` is not looked at. */
    uint32_t hash_bits;
    uint64_t hash_seed;
    enum label_use label_use;
    bool unlabelled;     /* LIBSVM, CSV: lines have features only, every label is 0; IDX: there is no label file */
    uint64_t first_line; /* line of the first byte, for messages; 0: 1 */
    bool part;           /* a part of a file: it may be without features */
    const struct csv_layout *layout; /* CSV, rows behind those of another part: its columns; NULL: find them */
    /* The schema that the file is matched with, by names where both have them: that of a model or a job. NULL: none. */
    const struct schema *want;
    const char *want_of;      /* owner of the schema, such as "the model m.st" */
    bool extra_ignored;       /* columns and indices that `want` lacks are passed over; else they are an error */
    bool extra_option;        /* errors name --extra-features */
    bool label_optional;      /* a file without the label's column has no labels; else that is an error */
    const volatile int *stop; /* becomes non-zero (by a signal handler): reading ends with DP_STOPPED; may be NULL */
};

static inline bool data_is_sparse(const struct data *data)
{
    return data->row_at != NULL;
}

#endif
