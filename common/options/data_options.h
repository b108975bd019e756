/* The options that say which data a worker reads and how many threads it computes with. dp-worker has them for itself;
 * dp-server has the same rows and passes them on to its --local-workers. Thread: any. */
#ifndef DP_COMMON_OPTIONS_DATA_OPTIONS_H
#define DP_COMMON_OPTIONS_DATA_OPTIONS_H

#include <stddef.h>
#include <stdint.h>

#include "common/options/options.h"

enum { DATA_THREADS_MAX = 1024 };
enum { DATA_OPTION_AUTO, DATA_OPTION_LIBSVM }; /* the first choices of --format */

struct data_options {
    const char *data;          /* --data, NULL when not given */
    const char *eval;          /* --eval, NULL when not given */
    int format;                /* enum data_format of worker/data/parse/set.h; the choices below are in its order */
    int header;                /* enum data_header of worker/data/parse/set.h: auto, on, off */
    const char *label_column;  /* NULL: the one column named label, target, class or y */
    const char *ignore;        /* --ignore-columns, NULL: none */
    int extra_features;        /* of --eval, and of data for a trained model; 1: passed over */
    const char *labels;        /* IDX label file of --data, NULL: by its name */
    const char *eval_labels;   /* the same for --eval */
    uint64_t threads;          /* 1..DATA_THREADS_MAX */
    uint64_t memory_limit_mib; /* of the training data that are held; 0: all of them */
    double emulate_slot_ms;    /* 0: nothing is emulated */
    const char *emulate_stalls;
};

/* Whether the files that are named are there and may be read, so that nobody waits for a server to learn that they are
 * not, and that they are one file each. DP_IO, naming the option. */
DP_MUST_CHECK dp_err data_options_check_files(const struct data_options *data, dp_error *err);

struct data_file {
    const char *option, *path; /* NULL: not given */
};

/* Nothing that is written may take the place of what is read. DP_IO, naming both options. */
DP_MUST_CHECK dp_err data_files_check_output(const struct data_file *files, size_t count, const char *option,
                                             const char *path, dp_error *err);
/* The same of all files that are read as data. */
DP_MUST_CHECK dp_err data_options_check_output(const struct data_options *data, const char *option, const char *path,
                                               dp_error *err);

/* Options that say something of others that are not given. DP_USAGE. */
DP_MUST_CHECK dp_err data_options_check(const struct data_options *data, dp_error *err);

#define DATA_OPTION_ROW(struct_type, field, name, type, arg, min, max, dflt, choices, help)        \
    {                                                                                              \
        "data", name, type, offsetof(struct_type, field), arg, min, max, dflt, NULL, choices, help \
    }

/* Rows of an option table, all of topic "data", for a struct that holds a struct data_options as member m:
 *
 *     struct server_options { ...; struct data_options data; };
 *     static const struct option OPTIONS[] = { ..., DATA_OPTION_ROWS(struct server_options, data), ... };
 */
#define DATA_OPTION_ROWS(S, m)                                                                                         \
    DATA_OPTION_ROW(S, m.data, "data", OPT_STRING, "FILE", 0, 0, NULL, NULL,                                           \
                    "training data: LIBSVM, CSV or IDX, plain or gzip"),                                               \
        DATA_OPTION_ROW(S, m.eval, "eval", OPT_STRING, "FILE", 0, 0, NULL, NULL,                                       \
                        "evaluation data, computed in shares by all workers at each epoch's end"),                     \
        DATA_OPTION_ROW(S, m.format, "format", OPT_CHOICE, "FORMAT", 0, 0, "auto", "auto|libsvm|csv|idx",              \
                        "format of the data files; auto goes by their content"),                                       \
        DATA_OPTION_ROW(S, m.header, "header", OPT_CHOICE, "WHETHER", 0, 0, "auto", "auto|on|off",                     \
                        "CSV: whether the first row has names; auto: if its fields are words, and in doubt an error"), \
        DATA_OPTION_ROW(S, m.label_column, "label-column", OPT_STRING, "COLUMN", 0, 0, NULL, NULL,                     \
                        "CSV: label by header name or number from 0 (negative: from the end); else the one column "    \
                        "named label, target, class or y"),                                                            \
        DATA_OPTION_ROW(S, m.ignore, "ignore-columns", OPT_STRING, "COLUMN,...", 0, 0, NULL, NULL,                     \
                        "CSV: columns that are not read, by name or number"),                                          \
        DATA_OPTION_ROW(S, m.extra_features, "extra-features", OPT_CHOICE, "WHAT", 0, 0, "error", "error|ignore",      \
                        "columns or indices of evaluation data that the training data or the model lack"),             \
        DATA_OPTION_ROW(S, m.labels, "labels", OPT_STRING, "FILE", 0, 0, NULL, NULL,                                   \
                        "IDX: label file of --data; else by its name, labels-idx1 for images-idx3"),                   \
        DATA_OPTION_ROW(S, m.eval_labels, "eval-labels", OPT_STRING, "FILE", 0, 0, NULL, NULL,                         \
                        "IDX: label file of --eval"),                                                                  \
        DATA_OPTION_ROW(S, m.threads, "threads", OPT_U64, "N", 1, DATA_THREADS_MAX, "1", NULL,                         \
                        "slots that a worker computes side by side"),                                                  \
        DATA_OPTION_ROW(S, m.memory_limit_mib, "memory-limit", OPT_U64, "MIB", 0, 1e9, "0", NULL,                      \
                        "training data to hold at a time, for dp-server --shuffle block; 0: all of them"),             \
        DATA_OPTION_ROW(S, m.emulate_slot_ms, "emulate-slot-ms", OPT_F64, "MS", 0, 86400000, "0", NULL,                \
                        "to plan capacity: each slot takes at least so long, as if on a slower machine"),              \
        DATA_OPTION_ROW(S, m.emulate_stalls, "emulate-stalls", OPT_STRING, "FACTOR@SHARE", 0, 0, NULL, NULL,           \
                        "and a share of the slots a multiple of that, such as 3@0.2")

#endif
