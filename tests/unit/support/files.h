/* Files for unit tests: those of the repository, those beside it, and temporary ones. */
#ifndef DP_TESTS_UNIT_SUPPORT_FILES_H
#define DP_TESTS_UNIT_SUPPORT_FILES_H

#include <criterion/criterion.h>

#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A file of the repository; DP_SOURCE_ROOT is set by the build. */
static inline const char *source_path(char buf[PATH_MAX], const char *name)
{
    snprintf(buf, PATH_MAX, "%s/%s", DP_SOURCE_ROOT, name);
    return buf;
}

/* A file of the shared data: in the folder $DP_SHARED, else in `shared` beside the repository. False if it is absent.
 */
static inline bool shared_path(char buf[PATH_MAX], const char *name)
{
    const char *folder = getenv("DP_SHARED");
    if (folder)
        snprintf(buf, PATH_MAX, "%s/%s", folder, name);
    else
        snprintf(buf, PATH_MAX, "%s/../shared/%s", DP_SOURCE_ROOT, name);
    return access(buf, R_OK) == 0;
}
#define SKIP_WITHOUT_SHARED(buf, name)                                                                         \
    do {                                                                                                       \
        if (!shared_path(buf, name))                                                                           \
            cr_skip_test("%s is absent: set DP_SHARED to the folder that has " name " to run this test", buf); \
    } while (0)

static inline int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

/* Removes a folder with all that is in it. */
static inline void folder_unmake(const char *name)
{
    cr_assert_eq(nftw(name, remove_entry, 8, FTW_DEPTH | FTW_PHYS), 0, "%s", name);
}

/* A temporary folder; name[] gets its path. */
static inline void folder_make(char name[PATH_MAX])
{
    const char *tmp = getenv("TMPDIR");
    snprintf(name, PATH_MAX, "%s/dp-test-XXXXXX", tmp ? tmp : "/tmp");
    cr_assert_not_null(mkdtemp(name));
}

static inline void file_make(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fwrite(bytes, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

#endif
