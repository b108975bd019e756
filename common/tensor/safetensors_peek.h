/* The kind of file at a path, so that no model and nothing else of the user's is overwritten by less. Thread: any.
 */
#ifndef DP_COMMON_TENSOR_SAFETENSORS_PEEK_H
#define DP_COMMON_TENSOR_SAFETENSORS_PEEK_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/dp_err.h"

enum model_at {
    MODEL_AT_NONE,       /* no file, or an empty one */
    MODEL_AT_OTHER,      /* no model of dp, or one that cannot be read: not ours to replace */
    MODEL_AT_UNFINISHED, /* of a job that was stopped or diverged ("complete": "no", or "diverged": "yes") */
    MODEL_AT_FINISHED,
    MODEL_AT_UNKNOWN, /* there is a file, and no descriptor to look at it with */
};

/* By the metadata of the file's header. */
enum model_at safetensors_peek(const char *path);

/* Whether a model, finished or not, may take the place of what is there: a model is not replaced by one that is less,
 * and what is no model is not replaced at all. DP_IO naming the file. */
DP_MUST_CHECK dp_err safetensors_peek_replace(const char *path, bool finished, dp_error *err);

/* The path of a model that is not finished: `path`, unless a finished model or another file is there; then
 * `path.suffix`, else `path.suffix.1`, .2, ... To buf[size]; DP_IO where none of them will do. */
DP_MUST_CHECK dp_err safetensors_peek_unfinished(const char *path, const char *suffix, char *buf, size_t size,
                                                 dp_error *err);

#endif
