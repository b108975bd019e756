/* The text of a checkpoint's manifest, from what the head knows. Thread: head. */
#ifndef DP_SERVER_RESULT_CHECKPOINT_MANIFEST_H
#define DP_SERVER_RESULT_CHECKPOINT_MANIFEST_H

#include <stddef.h>

#include "common/base/dp_err.h"

struct head;

/* The checkpoint is the one that is being made; its files and sums are there. Heap. DP_NOMEM. */
DP_MUST_CHECK dp_err checkpoint_manifest(const struct head *head, char **ret_text, size_t *ret_bytes);

#endif
