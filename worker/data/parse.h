/* What the readers of data.h share: a text with its place for error messages, numbers, loading of files. Internal to
 * the readers. Thread: any. */
#ifndef DP_WORKER_DATA_PARSE_H
#define DP_WORKER_DATA_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/data/data.h"

enum { NUMBER_CHARS_MAX = 400, PLACE_NAME_MAX = 200, QUOTE_MAX = 64, STOP_LINES = 4096 };

/* A text that is being read. */
struct text {
    char name[PLACE_NAME_MAX]; /* of the file, as errors show it: the end of a very long one */
    const char *at;
    const char *end;
    uint64_t line; /* of `at`, from 1 */
};
/* Starts at the first byte after a UTF-8 byte order mark. */
void text_init(struct text *text, const char *path, const void *bytes, size_t size);
/* How often `c` occurs from `at` on. */
uint64_t text_count(const struct text *text, char c);
/* DP_DATA with "FILE:LINE: " before the text. */
DP_MUST_CHECK dp_err text_fail(const struct text *text, dp_error *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Reads the decimal number that begins at `at` and returns where it ends, or NULL if there is none, or none that is a
 * finite float. The value is the float nearest to the decimal, ties to even, whatever the locale. Form: [+-] digits
 * [. digits] [e [+-] digits] with a digit before or after the point. */
const char *number_scan(const char *at, const char *end, float *ret_value);
/* Why the token [at, at + n) is no value, as the second half of a sentence: "is not a number". */
const char *number_fault(const char *at, size_t n);
/* Whether the token is meant as a number, though perhaps not a finite one: "12", "nan", "1e99". */
bool number_like(const char *at, size_t n);

/* The token in single quotes, cut if long, other than printable ASCII as \xNN; returns `buf`. */
const char *token_quote(char buf[QUOTE_MAX], const char *at, size_t n);

static inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* DP_STOPPED once the source's stop flag is set. Readers ask every some thousand lines. */
DP_MUST_CHECK dp_err data_stopped(const volatile int *stop, dp_error *err);

/* Loads a plain or gzip file whole. DP_IO, DP_NOMEM, DP_STOPPED, or DP_DATA for a damaged or truncated gzip file. */
DP_MUST_CHECK dp_err data_load(const char *path, const volatile int *stop, char **ret_bytes, size_t *ret_size,
                               dp_error *err);

/* The readers. *data is zeroed but for name; on failure the caller frees what they left in it. */
DP_MUST_CHECK dp_err libsvm_parse(const struct data_source *source, const void *bytes, size_t size, struct data *data,
                                  dp_error *err);
DP_MUST_CHECK dp_err csv_parse(const struct data_source *source, const void *bytes, size_t size, struct data *data,
                               dp_error *err);
DP_MUST_CHECK dp_err idx_parse(const struct data_source *source, const void *bytes, size_t size, const void *labels,
                               size_t labels_size, struct data *data, dp_error *err);

/* The format of a file that begins with these bytes: the one asked for, else by the content. *ret_sure (may be NULL):
 * it was asked for, or the content has what other formats have not. */
enum data_format data_format(const struct data_source *source, const void *bytes, size_t size, bool *ret_sure);

/* Files that are not read, as the second half of a sentence that says what to do ("is compressed by xz; ..."), or NULL:
 * those that no reader takes, by their first bytes (IDX files apart), */
const char *foreign_binary(const void *bytes, size_t size);
/* and texts that a reader has refused, whose lines or beginning say why. */
const char *foreign_text(const void *bytes, size_t size);
/* The header of a CSV file. */
struct csv_head {
    size_t header_bytes; /* up to and with the header; 0: there is none */
    uint64_t header_lines;
};
/* Whether the bytes have the first two rows, which say whether there is one, to their ends. */
bool csv_head_whole(const char *bytes, size_t size);
/* Looks at bytes that have these rows, or are the file. DP_DATA. */
DP_MUST_CHECK dp_err csv_head_read(const struct data_source *source, const char *bytes, size_t size,
                                   struct csv_head *ret_head, dp_error *err);

/* Room for the labels of rows_max rows; false when out of memory. */
bool row_labels_room(const struct data_source *source, uint64_t rows_max, struct data *data);
/* The label of row data->rows: the token, which has no blanks around it, of a line from 1, or 0. DP_NOMEM; DP_DATA with
 * the second half of a sentence to *ret_fault. Where the source is unlabelled it is 0, whatever the token. */
DP_MUST_CHECK dp_err row_label_take(const struct data_source *source, struct data *data, const char *at, size_t n,
                                    uint64_t line, const char **ret_fault);
/* Frees the columns that a part of a CSV file found. Accepts NULL. */
void csv_layout_free(struct csv_layout **layout);

/* Whether the bytes begin like an IDX file. */
bool idx_detect(const void *bytes, size_t size);
/* The name of the label file that belongs to an IDX file (heap): "images" -> "labels", "idx3" -> "idx1" in the last
 * part of the path. DP_USAGE where the name does not say it. */
DP_MUST_CHECK dp_err idx_labels_path(const char *path, char **ret_path, dp_error *err);

#endif
