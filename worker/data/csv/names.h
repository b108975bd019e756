/* Names of the columns, for the schema and for people. Thread: any. */
#ifndef DP_WORKER_DATA_CSV_NAMES_H
#define DP_WORKER_DATA_CSV_NAMES_H

#include "worker/data/csv/state.h"

enum { CSV_NAME_BUF = SCHEMA_NAME_BYTES_MAX + 1 };
enum { COLUMN_TEXT_MAX = QUOTE_MAX + 32, COLUMN_LIST_MAX = 200 };

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

/* The number that --label-column is, resolved; false where it is none of the columns' numbers. */
bool csv_column_number(const struct csv *csv, const char *text, uint64_t *ret_column);

#endif
