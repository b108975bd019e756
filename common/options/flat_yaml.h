/* The flat YAML file. Thread: any. */
#ifndef DP_COMMON_OPTIONS_FLAT_YAML_H
#define DP_COMMON_OPTIONS_FLAT_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/dp_err.h"

/* Receives a flat YAML file in order: a key, then its value or the values of its sequence. Lines count from 1. */
struct yaml_sink {
    dp_err (*key)(void *arg, const char *key, bool sequence, size_t line, dp_error *err);
    dp_err (*value)(void *arg, const char *value, size_t line, dp_error *err);
    void *arg;
};
/* Reads one map of scalars and sequences of scalars; everything else is DP_USAGE with "name:line: ". */
DP_MUST_CHECK dp_err options_yaml_read(const char *name, const void *text, size_t bytes, const struct yaml_sink *sink,
                                       dp_error *err);

#endif
