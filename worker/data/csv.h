/* Inside of the CSV reader: fields (csv.c), the first row (csv_head.c), and which column is what
 * (csv_columns.c). Thread: any. */
#ifndef DP_WORKER_DATA_CSV_H
#define DP_WORKER_DATA_CSV_H

#include "worker/data/parse.h"

enum { CSV_NAME_BUF = SCHEMA_NAME_BYTES_MAX + 1 };
enum { COLUMN_TEXT_MAX = QUOTE_MAX + 32, COLUMN_LIST_MAX = 200 };
#define CSV_SKIP UINT64_MAX /* csv.to: a column that is not read */

/* Which column is what. */
struct csv_layout {
    char delimiter;
    uint64_t fields;   /* of the first row */
    uint64_t features; /* of the data */
    uint64_t label;    /* column of the label, from 0; UINT64_MAX: none */
    char **names;      /* [fields] of the header, as a schema has them; NULL: there is none */
    uint64_t *to;      /* [fields] feature that a column is, or CSV_SKIP; the label's is not looked at */
};

struct csv {
    struct text text; /* line is that of the row being read */
    uint64_t line;    /* of text.at; ahead of text.line inside a quoted field with line breaks */
    struct text header;
    bool has_header;
    const struct data_source *source;
    struct data *data;
    char delimiter;
    uint64_t fields; /* of the first row */
    uint64_t label;  /* column of the label, from 0; UINT64_MAX: none */
    bool lent;       /* names and to are not freed with the csv */
    bool unlabelled; /* rows have no label that is read */
    char **names;    /* [fields] of the header, as a schema has them; NULL: there is none */
    uint64_t *to;    /* [fields] feature that a column is, or CSV_SKIP; the label's is not looked at */
    dp_error *err;
};

/* A field without the quotes and blanks around it; inside quotes, "" stands for a quote. */
struct field {
    const char *at;
    size_t n;
    bool quoted;
    bool last; /* of its row */
};

/* Goes to the next row that is not blank; false at the end. */
bool csv_row_begin(struct csv *csv);
/* Reads the next field of the row and its delimiter or newline. DP_DATA. */
DP_MUST_CHECK dp_err csv_field_read(struct csv *csv, struct field *field);

/* Settles delimiter, fields and header; a first row that is no header is left to be read again. DP_DATA where it
 * cannot be told whether it is one. */
DP_MUST_CHECK dp_err csv_first_row_read(struct csv *csv);
/* The number that --label-column is, resolved; false where it is none of the columns' numbers. */
bool csv_column_number(const struct csv *csv, const char *text, uint64_t *ret_column);

/* ---- names: csv_names.c ---- */

/* Whether the row at text.at has all names of the schema. */
bool csv_names_have(struct csv *row, const struct schema *want);
/* Reads the header's names into csv->names, one block. DP_DATA where they are too many. */
DP_MUST_CHECK dp_err csv_names_read(struct csv *csv);
/* Place of a name in the header; false where it is not there. */
bool csv_name_find(const struct csv *csv, const char *name, uint64_t *ret_column);
/* The name that a text of an option means. */
void csv_name_of_text(const char *text, char name[CSV_NAME_BUF]);
/* For people: a column, "column 3 ('age')"; texts, as many as there is room for; the header's names. All return buf. */
const char *csv_column_text(const struct csv *csv, uint64_t column, char buf[COLUMN_TEXT_MAX]);
const char *csv_list_text(char *const *list, uint64_t count, char buf[COLUMN_LIST_MAX]);
const char *csv_columns_text(const struct csv *csv, char buf[COLUMN_LIST_MAX]);
/* Adds to the data's note. DP_NOMEM. */
DP_MUST_CHECK dp_err csv_note(struct csv *csv, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* ---- columns: csv_columns.c, csv_match.c ---- */

/* Settles what each column is: label, to, and the data's features, schema and note. csv_columns_fini frees what of it
 * is the csv's. */
DP_MUST_CHECK dp_err csv_columns_settle(struct csv *csv);
void csv_columns_fini(struct csv *csv);
/* Takes over what another part of the file found. */
void csv_layout_take(struct csv *csv, const struct csv_layout *layout);
/* The same for data that are for source->want; ignored columns are marked. */
DP_MUST_CHECK dp_err csv_columns_match(struct csv *csv);
/* Finds the label by --label-column, or by the one name that means a label. */
DP_MUST_CHECK dp_err csv_label_find(struct csv *csv);
/* How many columns have a name that means a label; the first two. */
uint64_t csv_labels_named(const struct csv *csv, uint64_t at[2]);
/* Whether the file has no header, but one column that can only be the label, for classification: csv_guess.c. */
bool csv_label_stands_out(const struct csv *csv, uint64_t *ret_column);
/* Whether no two columns have one name, but for ignored ones. DP_DATA naming both. */
DP_MUST_CHECK dp_err csv_check_distinct(struct csv *csv);
/* Numbers the features in their order; returns how many there are. */
uint64_t csv_features_number(struct csv *csv);
/* The data's schema is the file's own. DP_NOMEM. */
DP_MUST_CHECK dp_err csv_schema_fill(struct csv *csv);

#endif
