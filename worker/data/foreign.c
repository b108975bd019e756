/* Files of other formats, recognised by how they begin, so that their user reads what to do and not what is wrong with
 * line 1. Thread: any. */
#include "worker/data/foreign.h"

#include <stdbool.h>
#include <string.h>

#include "common/base/util.h"

enum { TAR_MAGIC_AT = 257, LOOK_BYTES = 4096 };

struct foreign {
    const char *magic;
    size_t bytes; /* of magic */
    size_t at;    /* its offset in the file */
    const char *what;
};

/* A literal, and its bytes without the zero at the end. */
#define MAGIC(text) (text), sizeof(text) - 1
#define AS_CSV ", which is not read; save it as CSV"
#define LIKE_JSON "it looks like JSON" AS_CSV
#define LIKE_PAGE "it looks like a web page, perhaps in place of a download; get the file itself"

/* No text and no IDX file begins like these. */
static const struct foreign BINARY[] = {
    {MAGIC("BZh"), 0, "is compressed by bzip2; unpack it first: bunzip2 FILE"},
    {MAGIC("\xfd"
           "7zXZ"),
     0, "is compressed by xz; unpack it first: unxz FILE"},
    {MAGIC("\x28\xb5\x2f\xfd"), 0, "is compressed by zstd; unpack it first: unzstd FILE"},
    {MAGIC("\x04\x22\x4d\x18"), 0, "is compressed by lz4; unpack it first: unlz4 FILE"},
    {MAGIC("\x5d\x00\x00"), 0, "is compressed by lzma; unpack it first: unlzma FILE"},
    {MAGIC("\x1f\x9d"), 0, "is compressed by compress; unpack it first: gunzip FILE"},
    {MAGIC("\x1f\x8b"), 0, "is gzip within gzip; unpack it once first: gunzip FILE"},
    {MAGIC("PK\x03\x04"), 0,
     "is a zip archive (a workbook of Excel and an .npz file are, too); unpack it, or save it as CSV"},
    {MAGIC("PK\x05\x06"), 0, "is an empty zip archive; give a LIBSVM, CSV or IDX file"},
    {MAGIC("7z\xbc\xaf\x27\x1c"), 0, "is a 7z archive; unpack it first: 7z x FILE"},
    {MAGIC("Rar!\x1a"), 0, "is a RAR archive; unpack it first"},
    {MAGIC("ustar"), TAR_MAGIC_AT, "is a tar archive; unpack it first (tar xf FILE) and give one file of it"},
    {MAGIC("PAR1"), 0, "is Parquet" AS_CSV},
    {MAGIC("ORC"), 0, "is ORC" AS_CSV},
    {MAGIC("ARROW1"), 0, "is an Arrow (Feather) file" AS_CSV},
    {MAGIC("FEA1"), 0, "is a Feather file" AS_CSV},
    {MAGIC("Obj\x01"), 0, "is Avro" AS_CSV},
    {MAGIC("\x89HDF\r\n\x1a\n"), 0, "is HDF5" AS_CSV},
    {MAGIC("\x93NUMPY"), 0, "is an array of NumPy" AS_CSV ": numpy.savetxt(NAME, x, delimiter=',')"},
    {MAGIC("\x80\x04\x95"), 0, "is a pickle of Python" AS_CSV},
    {MAGIC("SQLite format 3"), 0, "is an SQLite database, which is not read; save the table as CSV"},
    {MAGIC("%PDF"), 0, "is a PDF document; give a LIBSVM, CSV or IDX file"},
    {MAGIC("\xff\xfe\x00\x00"), 0, "is UTF-32; save it as UTF-8: iconv -f UTF-32 -t UTF-8 FILE"},
    {MAGIC("\x00\x00\xfe\xff"), 0, "is UTF-32; save it as UTF-8: iconv -f UTF-32 -t UTF-8 FILE"},
    {MAGIC("\xff\xfe"), 0, "is UTF-16; save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE"},
    {MAGIC("\xfe\xff"), 0, "is UTF-16; save it as UTF-8: iconv -f UTF-16 -t UTF-8 FILE"},
};

/* Texts of these kinds begin like this, but a header of CSV might as well. */
static const struct foreign TEXT[] = {
    {MAGIC("{"), 0, LIKE_JSON},
    {MAGIC("["), 0, LIKE_JSON},
    {MAGIC("<!DOCTYPE"), 0, LIKE_PAGE},
    {MAGIC("<!doctype"), 0, LIKE_PAGE},
    {MAGIC("<html"), 0, LIKE_PAGE},
    {MAGIC("<?xml"), 0, "it looks like XML" AS_CSV},
    {MAGIC("@relation"), 0, "it looks like ARFF" AS_CSV},
    {MAGIC("@RELATION"), 0, "it looks like ARFF" AS_CSV},
    {MAGIC("%%MatrixMarket"), 0, "it looks like Matrix Market, which is not read; save it as LIBSVM"},
    {MAGIC("version https://git-lfs"), 0, "it is a pointer of Git LFS and not the file; get that with: git lfs pull"},
};

static const char *foreign_find(const struct foreign *list, size_t count, const char *bytes, size_t size)
{
    for (size_t i = 0; i < count; i++)
        if (size >= list[i].at + list[i].bytes && memcmp(bytes + list[i].at, list[i].magic, list[i].bytes) == 0)
            return list[i].what;
    return NULL;
}

const char *foreign_binary(const void *bytes, size_t size)
{
    const char *what = foreign_find(BINARY, ARRAY_LEN(BINARY), bytes, size);
    if (what || !memchr(bytes, 0, MIN(size, (size_t)LOOK_BYTES)))
        return what;
    return "is no text: it has zero bytes; give a LIBSVM or CSV file as UTF-8, or an IDX file";
}

/* A carriage return that ends a line by itself, as in files of the first Macs. */
static bool has_lone_return(const char *bytes, size_t size)
{
    const char *end = bytes + size;
    for (const char *p = bytes; (p = memchr(p, '\r', (size_t)(end - p))) != NULL; p++)
        if (p + 1 < end && p[1] != '\n' && p[1] != '\r')
            return true;
    return false;
}

const char *foreign_text(const void *bytes, size_t size)
{
    const char *at = bytes;
    size_t n = size;
    if (has_lone_return(bytes, size))
        return "lines end in a carriage return alone; convert them: tr '\\r' '\\n' <FILE >NAME";
    for (; n > 0 && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'); n--)
        at++;
    return foreign_find(TEXT, ARRAY_LEN(TEXT), at, n);
}
