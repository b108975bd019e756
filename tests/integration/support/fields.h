/* JSON that programs print, held against their tables of members (common/options/fields.h). The harness checks each
 * status document and each event of a process that it has waited for. Thread: the test's. */
#ifndef DP_TESTS_INTEGRATION_SUPPORT_FIELDS_H
#define DP_TESTS_INTEGRATION_SUPPORT_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/options/fields.h"

enum { FIELDS_MAX = 256, FIELDS_TEXT = 512 };

struct fields_seen {
    bool member[FIELDS_MAX]; /* by index in the table's list */
};

/* Why `object`, which is at `place`, does not have the members that the table gives it, in buf; NULL if it has. Members
 * that are there are noted in `seen`, which may be NULL. */
const char *fields_problem(const struct field_table *table, const char *place, const json_t *object,
                           struct fields_seen *seen, char buf[FIELDS_TEXT]);

/* A program, and its first argument, which may be a command, or NULL. */
struct fields_source {
    const char *program, *command;
};

/* The same of all whole lines of standard output that begin an object, of "dp-server", "dp-worker" or "dp-ctl". */
const char *fields_problem_output(const struct fields_source *source, const char *output, struct fields_seen *seen,
                                  char buf[FIELDS_TEXT]);

/* Fails the test where a member of the table is in no document; those of the places `except` (NULL: none) may be. */
void fields_assert_all(const struct field_table *table, const struct fields_seen *seen, const char *except);

#endif
