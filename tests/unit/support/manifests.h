/* Manifests of checkpoints whose files a test has written. */
#ifndef DP_TESTS_UNIT_SUPPORT_MANIFESTS_H
#define DP_TESTS_UNIT_SUPPORT_MANIFESTS_H

#include <criterion/criterion.h>

#include <stdint.h>
#include <stdlib.h>

#include "common/checkpoint/manifest.h"
#include "server/store/folder.h"

/* The draft of a checkpoint at `step` of the plan becomes whole, with these files. */
static inline void manifest_commit(const struct folder *folder, uint64_t step, uint64_t train_step,
                                   uint64_t train_steps, struct manifest_file *files, size_t file_count)
{
    struct manifest m = {.generation = 1,
                         .incarnation = 1,
                         .step = step,
                         .train_step = train_step,
                         .train_steps = train_steps,
                         .written_at = (char *)"2026-11-30T23:59:59Z",
                         .version = (char *)"0.1",
                         .spec = json_object(),
                         .join = (void *)"join",
                         .join_bytes = 4,
                         .numerics = (char *)"any",
                         .sums = json_object(),
                         .files = files,
                         .file_count = file_count};
    char *text;
    size_t bytes;
    dp_error err;
    cr_assert_eq(manifest_write(&m, &text, &bytes), DP_OK);
    cr_assert_eq(folder_commit(folder, train_step, text, bytes, &err), DP_OK, "%s", err.text);
    json_decref(m.spec);
    json_decref(m.sums);
    free(text);
}

#endif
