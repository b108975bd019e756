/* Any bytes as a model: refused, or read with every tensor within theta. */
#include <stdlib.h>

#include "common/tensor/safetensors.h"
#include "common/tensor/safetensors_read.h"
#include "tests/fuzz/fuzz.h"

static volatile float sink;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct safetensors model = {0};
    dp_error err = {0};
    if (safetensors_parse("fuzz", data, bytes, &model, &err) == DP_OK) {
        uint64_t total = tensors_total(&model.tensors);
        FUZZ_ASSERT(model.tensors.count > 0 && total > 0 && total * sizeof(float) < bytes);
        sink = model.theta[0] + model.theta[total - 1];
        for (uint32_t i = 0; i < model.tensors.count; i++)
            FUZZ_ASSERT(safetensors_find(&model, model.tensors.list[i].name) == (int)i);
        for (size_t i = 0; i < model.meta.count; i++)
            FUZZ_ASSERT(safetensors_meta_get(&model.meta, model.meta.keys[i]) == model.meta.values[i]);
    } else {
        FUZZ_ASSERT(err.text[0] && !model.theta);
    }
    safetensors_fini(&model);
    return 0;
}
