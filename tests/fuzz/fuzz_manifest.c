/* Any bytes as a manifest, as they are and with the digest that they would need: refused with a reason, or read so that
 * writing it again gives a text that is read as the same. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/checkpoint/manifest.h"
#include "tests/fuzz/fuzz.h"

static void check_files(const struct manifest *manifest)
{
    FUZZ_ASSERT(manifest->file_count > 0);
    for (size_t i = 0; i < manifest->file_count; i++) {
        const char *name = manifest->files[i].name;
        FUZZ_ASSERT(name[0] && name[0] != '.' && !strchr(name, '/') && strlen(name) < MANIFEST_NAME_MAX);
    }
}

static void check_again(const struct manifest *manifest)
{
    struct manifest back;
    char *text, *again;
    size_t bytes, again_bytes;
    dp_error err;
    FUZZ_ASSERT(manifest_write(manifest, &text, &bytes) == DP_OK);
    FUZZ_ASSERT(manifest_parse("again", text, bytes, &back, &err) == DP_OK);
    FUZZ_ASSERT(manifest_write(&back, &again, &again_bytes) == DP_OK);
    FUZZ_ASSERT(bytes == again_bytes && memcmp(text, again, bytes) == 0);
    manifest_fini(&back);
    free(text);
    free(again);
}

static void parse(const char *text, size_t bytes)
{
    struct manifest manifest;
    dp_error err = {0};
    if (manifest_parse("fuzz", text, bytes, &manifest, &err)) {
        FUZZ_ASSERT(strstr(err.text, "fuzz: "));
        return;
    }
    check_files(&manifest);
    check_again(&manifest);
    manifest_fini(&manifest);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    enum { TAIL = 64 };
    char *sealed = malloc(bytes + TAIL);
    if (!sealed)
        return 0;
    if (bytes > 0)
        memcpy(sealed, data, bytes);
    int tail =
        snprintf(sealed + bytes, TAIL, "  \"xxh3\": \"%016" PRIx64 "\"\n}\n", (uint64_t)XXH3_64bits(data, bytes));
    parse((const char *)data, bytes);
    parse(sealed, bytes + (size_t)tail);
    free(sealed);
    return 0;
}
