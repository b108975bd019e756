/* Feeds a corpus to a fuzz target without a fuzzer: each file, every truncation of the small ones, and each with single
 * bytes changed. A fuzzer's finding stays found, with any compiler. Arguments: files or folders. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/util.h"
#include "tests/fuzz/fuzz.h"

enum { FILE_MAX = 1 << 22, CUTS_MAX = 512 };

/* A copy of exactly that size, so that sanitizers see any byte read beyond it. */
static void feed(const uint8_t *data, size_t bytes)
{
    uint8_t *exact = malloc(bytes ? bytes : 1);
    if (!exact)
        abort();
    memcpy(exact, data, bytes);
    LLVMFuzzerTestOneInput(exact, bytes);
    free(exact);
}

static void feed_variants(uint8_t *data, size_t bytes)
{
    static const uint8_t flips[] = {0x01, 0x80, 0xff};
    size_t stride = bytes / CUTS_MAX + 1;
    feed(data, bytes);
    for (size_t i = 0; i < bytes; i += stride) {
        feed(data, i);
        for (size_t f = 0; f < ARRAY_LEN(flips); f++) {
            data[i] ^= flips[f];
            feed(data, bytes);
            data[i] ^= flips[f];
        }
    }
}

static bool replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc(FILE_MAX);
    bool ok = file && data;
    if (ok)
        feed_variants(data, fread(data, 1, FILE_MAX, file));
    else
        fprintf(stderr, "replay: cannot read %s\n", path);
    free(data);
    if (file)
        fclose(file);
    return ok;
}

/* Number of files that were replayed; -1 if one could not be. */
static int replay_folder(const char *path)
{
    struct dirent **names = NULL;
    int count = scandir(path, &names, NULL, alphasort), replayed = 0;
    for (int i = 0; i < count; i++) {
        char file[4096];
        snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
        if (names[i]->d_name[0] != '.' && replayed >= 0)
            replayed = replay_file(file) ? replayed + 1 : -1;
        free(names[i]);
    }
    free(names);
    return count < 0 ? -1 : replayed;
}

int main(int argc, char **argv)
{
    int total = 0;
    for (int i = 1; i < argc; i++) {
        struct stat st;
        int n = stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode) ? replay_folder(argv[i]) : replay_file(argv[i]) ? 1 : -1;
        if (n <= 0) {
            fprintf(stderr, "replay: nothing to replay in %s\n", argv[i]);
            return 1;
        }
        total += n;
    }
    printf("replayed %d files\n", total);
    return total > 0 ? 0 : 1;
}
