/* The training behind a model's file; see training.h. */
#include "worker/model/training.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/human.h"

static bool is(const struct safetensors_meta *meta, const char *key, const char *value)
{
    const char *text = safetensors_meta_get(meta, key);
    return text && strcmp(text, value) == 0;
}

struct model_state model_state_read(const struct safetensors_meta *meta)
{
    const char *steps = safetensors_meta_get(meta, "steps");
    return (struct model_state){.steps = steps ? strtoull(steps, NULL, 10) : 0,
                                .unfinished = is(meta, "complete", "no"),
                                .diverged = is(meta, "diverged", "yes")};
}

void model_state_warn(const struct model_state *state, const char *path, FILE *out)
{
    if (state->diverged)
        fprintf(out,
                "dp-worker: warning: %s: the training of this model diverged after %" PRIu64
                " step%s: train it again with scaled features, or a smaller --lr\n",
                path, state->steps, human_s(state->steps));
    else if (state->unfinished)
        fprintf(out,
                "dp-worker: warning: %s: this model is not finished: it was written after %" PRIu64
                " training step%s of a job that had more to do\n",
                path, state->steps, human_s(state->steps));
}
