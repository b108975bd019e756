/* Files on their way into memory: gzip in all its parts, other formats that are named, files that change meanwhile. */
#include <criterion/criterion.h>

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"
#include "worker/data/data.h"
#include "worker/data/file_stamp.h"
#include "worker/data/load.h"

static char folder[PATH_MAX], path[PATH_MAX + 16];

static void setup(void)
{
    folder_make(folder);
    snprintf(path, sizeof path, "%s/f", folder);
}

static void teardown(void)
{
    unlink(path);
    rmdir(folder);
}

TestSuite(load, .init = setup, .fini = teardown);
TestSuite(foreign);
TestSuite(stamp, .init = setup, .fini = teardown);

static void add_member(const char *text, size_t size)
{
    gzFile file = gzopen(path, "ab");
    cr_assert_eq(gzwrite(file, text, (unsigned)size), (int)size);
    cr_assert_eq(gzclose(file), Z_OK);
}

static void add_bytes(const void *bytes, size_t size)
{
    FILE *file = fopen(path, "ab");
    cr_assert_eq(fwrite(bytes, 1, size, file), size);
    cr_assert_eq(fclose(file), 0);
}

static void assert_loads(const char *text, size_t size)
{
    AUTOFREE char *bytes = NULL;
    size_t loaded = 0;
    dp_error err = {0};
    cr_assert_eq(data_load(path, NULL, &bytes, &loaded, &err), DP_OK, "%s", err.text);
    cr_assert_eq(loaded, size);
    cr_assert_arr_eq(bytes, text, size);
}

/* They have no end, and nothing would say so before the memory is used up. */
Test(load, a_device)
{
    char *bytes = NULL;
    size_t size = 0;
    dp_error err = {0};
    cr_assert_eq(data_load("/dev/zero", NULL, &bytes, &size, &err), DP_DATA);
    cr_assert_str_eq(err.text, "/dev/zero: is a device, and data are read from a file or a pipe");
    cr_assert_eq(data_load("/dev/null", NULL, &bytes, &size, &err), DP_OK); /* it is empty, as its reader says */
    cr_assert_eq(size, 0);
    free(bytes);
}

static void assert_damaged(const char *says)
{
    char *bytes = NULL;
    size_t size = 0;
    dp_error err = {0};
    cr_assert_eq(data_load(path, NULL, &bytes, &size, &err), DP_DATA, "it was loaded: %zu bytes", size);
    cr_assert_not_null(strstr(err.text, says), "%s", err.text);
    cr_assert_not_null(strstr(err.text, path), "%s", err.text);
    ASSERT_NO_LEAKS();
}

Test(load, all_members_and_zeros_behind_them)
{
    static const char ZEROS[1000];
    add_member("one\n", 4);
    add_member("", 0);
    add_member("two\n", 4);
    assert_loads("one\ntwo\n", 8);
    add_bytes(ZEROS, sizeof ZEROS);
    assert_loads("one\ntwo\n", 8);
    ASSERT_NO_LEAKS();
}

/* Larger than any buffer on the way, packed to next to nothing and hardly at all. */
Test(load, large_members)
{
    enum { LARGE = 3 << 20 };
    AUTOFREE char *text = mem_array(2 * (size_t)LARGE, 1);
    uint32_t x = 1;
    memset(text, 'a', LARGE);
    for (size_t i = LARGE; i < 2 * (size_t)LARGE; i++) {
        x = x * 1664525u + 1013904223u;
        text[i] = (char)(x >> 24);
    }
    add_member(text, LARGE);
    add_member(text + LARGE, LARGE);
    assert_loads(text, 2 * (size_t)LARGE);
    unlink(path);
    add_bytes(text, 2 * (size_t)LARGE);
    assert_loads(text, 2 * (size_t)LARGE);
}

Test(load, bytes_behind_the_last_member)
{
    add_member("one\n", 4);
    add_bytes("2 1:1\n", 6);
    assert_damaged("bytes that are no gzip follow its part 1");
}

Test(load, bytes_behind_zeros)
{
    add_member("one\n", 4);
    add_bytes("\0\0\0x", 4);
    assert_damaged("bytes that are no gzip follow its part 1");
}

/* Each byte of a second member's header and trailer, turned over, is noticed: nothing is left out in silence. Only the
 * time and the system in the header mean nothing. */
Test(load, a_damaged_second_member)
{
    add_member("one\n", 4);
    struct stat st;
    cr_assert_eq(stat(path, &st), 0);
    size_t first = (size_t)st.st_size;
    add_member("two, and more of it\n", 20);
    cr_assert_eq(stat(path, &st), 0);
    size_t whole = (size_t)st.st_size;
    char bytes[200];
    FILE *file = fopen(path, "rb");
    cr_assert_eq(fread(bytes, 1, sizeof bytes, file), whole);
    fclose(file);
    for (size_t i = first; i < whole; i++) {
        if (i - first >= 4 && i - first < 10)
            continue;
        bytes[i] ^= (char)0xff;
        file_make(path, bytes, whole);
        assert_damaged("the gzip file is ");
        bytes[i] ^= (char)0xff;
    }
    for (size_t n = first + 1; n < whole; n++) {
        file_make(path, bytes, n);
        assert_damaged("the gzip file is truncated");
    }
}

/* A pipe gives its bytes in pieces, the first of one byte. */
static void *write_slowly(void *arg)
{
    const char *text = arg;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    for (size_t i = 0; text[i]; i++)
        if (write(fd, text + i, 1) != 1)
            break;
    close(fd);
    return NULL;
}

Test(load, a_pipe)
{
    static char text[] = "1 1:2\n";
    pthread_t writer;
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_assert_eq(pthread_create(&writer, NULL, write_slowly, text), 0);
    assert_loads(text, sizeof text - 1);
    pthread_join(writer, NULL);
}

/* Other formats */

static void assert_named(const void *bytes, size_t size, const char *says)
{
    static const enum data_format FORMATS[] = {DATA_AUTO, DATA_CSV, DATA_LIBSVM};
    for (size_t i = 0; i < ARRAY_LEN(FORMATS); i++) {
        const struct data_source source = {.path = "f", .format = FORMATS[i]};
        struct data data;
        dp_error err = {0};
        cr_assert_eq(data_parse(&source, bytes, size, NULL, 0, &data, &err), DP_DATA, "%s", says);
        cr_assert_not_null(strstr(err.text, says), "'%s' does not say '%s'", err.text, says);
        cr_assert_null(strstr(err.text, "--format overrides"), "%s", err.text);
    }
}

Test(foreign, binary_files_are_named)
{
    char tar[300] = "data.csv", text[] = "1 1:2\n1 1:3\n", utf16[sizeof text * 2];
    memcpy(tar + 257, "ustar", 6);
    assert_named("BZh91AY&SY\x00", 11, "f: is compressed by bzip2; unpack it first: bunzip2 FILE");
    assert_named("\xfd"
                 "7zXZ\0\0",
                 7, "is compressed by xz");
    assert_named("\x28\xb5\x2f\xfd\x04", 5, "is compressed by zstd");
    assert_named("\x04\x22\x4d\x18\x64", 5, "is compressed by lz4");
    assert_named("PK\x03\x04\x14", 5, "is a zip archive");
    assert_named("PAR1\x15", 5, "is Parquet");
    assert_named("\x89HDF\r\n\x1a\n", 8, "is HDF5");
    assert_named("\x93NUMPY\x01", 7, "is an array of NumPy");
    assert_named(tar, sizeof tar, "is a tar archive");
    assert_named("\xff\xfe"
                 "1\0,\0",
                 6, "is UTF-16; save it as UTF-8");
    assert_named("\xfe\xff\0"
                 "1\0,",
                 6, "is UTF-16; save it as UTF-8");
    assert_named("\xff\xfe\0\0"
                 "1\0\0\0",
                 8, "is UTF-32");
    for (size_t i = 0; i < sizeof text; i++) { /* without a mark, as some programs write it */
        utf16[2 * i] = text[i];
        utf16[2 * i + 1] = 0;
    }
    assert_named(utf16, sizeof utf16 - 2, "is no text: it has zero bytes");
}

Test(foreign, texts_are_named)
{
    static const char RETURNS[] = "1,2\r3,4\r5,6", LIBSVM[] = "1 1:2\r0 1:3\r", HTML[] = "<!DOCTYPE html>\n<html>",
                      JSON[] = "{\"label\": 1}\n", LFS[] = "version https://git-lfs.github.com/spec/v1\n",
                      ARFF[] = "@relation iris\n\n@attribute x numeric\n";
    assert_named(RETURNS, sizeof RETURNS - 1, "lines end in a carriage return alone");
    assert_named(LIBSVM, sizeof LIBSVM - 1, "lines end in a carriage return alone");
    assert_named(HTML, sizeof HTML - 1, "it looks like a web page");
    assert_named(JSON, sizeof JSON - 1, "it looks like JSON");
    assert_named(LFS, sizeof LFS - 1, "pointer of Git LFS");
    assert_named(ARFF, sizeof ARFF - 1, "it looks like ARFF");
}

/* The guess of the format is told where it may be wrong, and nowhere else. */
Test(foreign, the_guess_is_told_where_it_may_be_the_cause)
{
    static const struct {
        const char *text;
        bool told;
    } CASES[] = {
        {"1 2 3\n", true},                  /* neither */
        {"12:30,1,2\n", true},              /* both */
        {"1 a:1\n", true},                  /* no index */
        {"1,2\n3,x\n", false},              /* csv, and a row of it has come */
        {"Unnamed: 0,a,y\n0,4,5\n", false}, /* csv, with names */
        {"1 1:2\n1 1:x\n", false},          /* libsvm */
        {"1 1:x\n", false},
        {"1:2.0 1:3\n", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct data_source source = {.path = "f"};
        struct data data;
        dp_error err = {0};
        cr_assert_eq(data_parse(&source, CASES[i].text, strlen(CASES[i].text), NULL, 0, &data, &err), DP_DATA);
        cr_assert_eq(strstr(err.text, "--format overrides") != NULL, CASES[i].told, "%s", err.text);
    }
}

Test(foreign, a_weight_beside_the_label)
{
    static const struct {
        const char *text, *says;
    } CASES[] = {
        {"1:2.0 1:3 2:4\n", "f:1: the line begins with '1:2.0', a label with a weight of its row"},
        {"0:2.0 1:3\n", "a label with a weight"},
        {"-1:0.5 1:3\n", "a label with a weight"},
        {"1.5:0.5 2:3\n", "a label with a weight"},
        {"3:2.0 2:3\n", "a label with a weight"},
        {"1:2.0 5:3\n", "so its label is missing: write LABEL '1:2.0'; if it is LABEL:WEIGHT, weights"},
        {"1:2.0\n", "so its label is missing"},
        {"qid:1 1:2.0\n", "so its label is missing"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        const struct data_source source = {.path = "f"};
        struct data data;
        dp_error err = {0};
        cr_assert_eq(data_parse(&source, CASES[i].text, strlen(CASES[i].text), NULL, 0, &data, &err), DP_DATA);
        cr_assert_not_null(strstr(err.text, CASES[i].says), "'%s' does not say '%s'", err.text, CASES[i].says);
    }
}

/* Files that change */

static dp_err check(const struct file_stamp *stamp, int fd, dp_error *err)
{
    return file_stamp_check(stamp, fd, "NAME", err);
}

Test(stamp, size_and_time)
{
    dp_error err = {0};
    struct stat st;
    char other[PATH_MAX + 16];
    snprintf(other, sizeof other, "%s/g", folder);
    file_make(path, "1 1:2\n", 6);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct file_stamp stamp = file_stamp_take(fd);
    cr_assert_eq(check(&stamp, fd, &err), DP_OK, "%s", err.text);
    cr_assert_eq(rename(path, other), 0); /* is still the same file */
    cr_assert_eq(check(&stamp, fd, &err), DP_OK, "%s", err.text);
    cr_assert_eq(rename(other, path), 0);
    cr_assert_eq(fstat(fd, &st), 0);
    add_bytes("1 1:3\n", 6);
    const struct timespec back[2] = {st.st_atim, st.st_mtim};
    cr_assert_eq(utimensat(AT_FDCWD, path, back, 0), 0);
    cr_assert_eq(check(&stamp, fd, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "NAME: has changed while it was being read"), "%s", err.text);
    cr_assert_eq(truncate(path, 6), 0);
    const struct timespec later[2] = {st.st_atim, {st.st_mtim.tv_sec, (st.st_mtim.tv_nsec + 1) % 1000000000}};
    cr_assert_eq(utimensat(AT_FDCWD, path, later, 0), 0);
    cr_assert_eq(check(&stamp, fd, &err), DP_DATA);
    cr_assert_eq(utimensat(AT_FDCWD, path, back, 0), 0);
    cr_assert_eq(check(&stamp, fd, &err), DP_OK, "%s", err.text);
    close(fd);
}
