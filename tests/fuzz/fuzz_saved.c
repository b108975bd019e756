/* Any bytes as the file of a model whose values stay there, with tables by id: refused with a reason, or read so that
 * each tensor's elements and rows can be had. */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/checkpoint/saved.h"
#include "tests/fuzz/fuzz.h"

enum { ELEMS = 64 };

static dp_err count_row(void *arg, uint64_t id, const float *row, dp_error *err)
{
    uint64_t *count = arg;
    volatile float sink = row[0];
    (void)id, (void)err, (void)sink;
    ++*count;
    return DP_OK;
}

static void check(const struct saved *saved)
{
    for (uint32_t t = 0; t < saved->tensors.count; t++) {
        const struct tensor *tensor = &saved->tensors.list[t];
        dp_error err = {0};
        float values[ELEMS];
        uint64_t count = 0;
        FUZZ_ASSERT(saved_find(saved, tensor->name) >= 0);
        FUZZ_ASSERT(saved_rows(saved, t, 0, UINT64_MAX, (struct saved_taker){count_row, &count}, &err) == DP_OK);
        FUZZ_ASSERT(count == saved_row_count(saved, t));
        if (tensor->kind != TENSOR_HASHED) {
            const uint64_t n = tensor->elems < ELEMS ? tensor->elems : ELEMS;
            FUZZ_ASSERT(saved_read(saved, t, tensor->elems - n, n, values, &err) == DP_OK);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static struct saved saved;
    char path[64];
    dp_error err = {0};
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_ASSERT(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (saved_open(path, (struct checkpoint_damage){0}, &saved, &err) == DP_OK) {
        check(&saved);
        saved_close(&saved);
    } else {
        FUZZ_ASSERT(strstr(err.text, path));
    }
    close(fd);
    return 0;
}
