/* Data sets by blocks; see blocks.h.
 *
 * Invariants: block b has rows [b * block_rows, ...) and the bytes [places[b].offset, places[b + 1].offset) of the
 * file, of which each reading must have the hash of the first. `used` is the size of the blocks that are held; it
 * exceeds the budget by no more than the one being loaded. The mutex guards all that changes after opening. */
#include "worker/data/blocks.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "worker/data/csv/head.h"
#include "worker/data/file_stamp.h"
#include "worker/data/fingerprint.h"
#include "worker/data/foreign.h"
#include "worker/data/numbering.h"
#include "worker/data/parse/text.h"
#include "worker/data/scan.h"

enum { FIRST_ROW_MAX = 256 << 20 }; /* bytes */

struct place {
    uint64_t offset;
    uint64_t line; /* of its first byte, from 1 */
    uint64_t hash; /* XXH3_64bits of the block's bytes, seed 0 */
};

struct block {
    struct data data; /* rows == 0: not held */
    uint64_t bytes;
    uint64_t used_at; /* blocks->clock when it was last used */
};

struct data_blocks {
    struct data_source source; /* the format found, the features found */
    struct data_blocks_shape shape;
    char *name;
    int fd;
    struct file_stamp stamp; /* before the first byte was read */
    size_t header_bytes;     /* CSV: all up to the first row of data */
    uint64_t header_lines;
    uint64_t rows, features, fingerprint;
    bool sparse;
    struct label_set labels; /* of all blocks */
    struct data found;       /* of the first block: schema, label_at, label_name, note */
    struct numbering numbering;
    uint64_t block_count;
    struct place *places; /* [block_count + 1] */
    struct block *blocks; /* [block_count] */
    pthread_mutex_t mutex;
    uint64_t used, clock;
    char *text; /* a block's bytes */
    size_t text_room;
};

static uint64_t data_bytes(const struct data *data)
{
    uint64_t entries = data_is_sparse(data) ? data->row_at[data->rows] : data->rows * data->features;
    uint64_t entry_bytes = data_is_sparse(data) ? sizeof(float) + sizeof(uint32_t) : sizeof(float);
    return entries * entry_bytes + data->rows * (sizeof(float) + (data_is_sparse(data) ? sizeof(uint64_t) : 0));
}

static dp_err no_memory(const struct data_blocks *b, dp_error *err)
{
    return dp_fail(err, DP_NOMEM, "%s: out of memory", b->name);
}

/* Parses the bytes of a block that begin at `line`, in b->text. The first block has the header in itself; what it says
 * of the columns is kept for the others, and for when it is read again. */
static dp_err block_parse(const struct data_blocks *b, uint64_t line, size_t bytes, struct data *ret_data,
                          dp_error *err)
{
    struct data_source source = b->source;
    bool header = b->found.layout && line == 1;
    size_t skip = header ? b->header_bytes : 0;
    source.part = true;
    source.layout = b->found.layout;
    source.first_line = line + (header ? b->header_lines : 0);
    return data_parse(&source, b->text + skip, bytes - skip, NULL, 0, ret_data, err);
}

/* Room for a block's bytes. */
static dp_err text_reserve(struct data_blocks *b, size_t bytes, dp_error *err)
{
    if (bytes <= b->text_room)
        return DP_OK;
    char *more = realloc(b->text, bytes);
    if (!more)
        return no_memory(b, err);
    b->text = more;
    b->text_room = bytes;
    return DP_OK;
}

/* ---- the pass over the file ---- */

/* The block's labels become those of the set: all of them are numbered anew. `known`: none may be new. */
static dp_err labels_join(struct data_blocks *b, struct data *data, bool known, dp_error *err)
{
    if (!data->label_set)
        return DP_OK;
    size_t had = b->labels.labels.count, count = data->label_set->labels.count;
    AUTOFREE uint32_t *numbers = mem_array(count, sizeof *numbers);
    dp_err e = numbers ? label_set_join(&b->labels, data->label_set, b->rows, numbers) : DP_NOMEM;
    if (e == DP_MODEL)
        return dp_fail(err, e,
                       "%s: has more than %d different labels, or longer ones than 1 MiB together; are they classes?",
                       b->name, LABELS_MAX);
    if (e)
        return no_memory(b, err);
    if (known && b->labels.labels.count > had)
        return dp_fail(err, DP_DATA, "%s: has changed since it was read", b->name);
    for (uint64_t r = 0; r < data->rows; r++)
        data->classes[r] = numbers[data->classes[r]];
    label_set_fini(data->label_set);
    mem_freep(&data->label_set);
    return DP_OK;
}

/* A place more; there is one behind the last block. */
static dp_err place_add(struct data_blocks *b, uint64_t *room, struct place place, dp_error *err)
{
    if (b->block_count + 1 >= *room) {
        struct place *more = realloc(b->places, (2 * *room + 16) * sizeof *more);
        if (!more)
            return no_memory(b, err);
        b->places = more;
        *room = 2 * *room + 16;
    }
    b->places[b->block_count] = place;
    return DP_OK;
}

/* All blocks have the schema of the first one. */
static void found_take(struct data_blocks *b, struct data *data)
{
    if (b->rows > 0)
        return;
    b->found = (struct data){.schema = data->schema,
                             .label_at = data->label_at,
                             .label_name = data->label_name,
                             .layout = data->layout,
                             .note = data->note};
    data->schema = (struct schema){0};
    data->label_name = data->note = NULL;
    data->layout = NULL;
}

/* Takes in the run of lines that the scanner found. */
static dp_err block_index(struct data_blocks *b, const struct scan *scan, struct fingerprint *fingerprint,
                          uint64_t *largest, dp_error *err)
{
    struct data data;
    dp_err e = text_reserve(b, scan->bytes, err);
    if (e)
        return e;
    memcpy(b->text, scan->at, scan->bytes);
    e = block_parse(b, scan->line, scan->bytes, &data, err);
    if (e)
        return e;
    if (data.rows != scan->rows)
        e = dp_fail(err, DP_DATA, "%s:%" PRIu64 ": rows that are not one line each cannot be read by blocks", b->name,
                    scan->line);
    fingerprint_add(fingerprint, &data);
    numbering_add(&b->numbering, &data);
    found_take(b, &data);
    if (!e)
        e = labels_join(b, &data, false, err);
    b->sparse = data_is_sparse(&data);
    b->rows += data.rows;
    b->features = MAX(b->features, data.features);
    *largest = MAX(*largest, data_bytes(&data));
    if (!b->sparse) /* further blocks must be as wide */
        b->source.features = data.features;
    data_fini(&data);
    return e;
}

static dp_err check_budget(const struct data_blocks *b, uint64_t largest, dp_error *err)
{
    uint64_t blocks = MIN((uint64_t)b->shape.window_blocks + 1, b->block_count);
    if (blocks * largest <= b->shape.budget_bytes)
        return DP_OK;
    return dp_fail(err, DP_DATA,
                   "%s: %" PRIu64 " blocks of %" PRIu64 " rows are used side by side and need %" PRIu64
                   " MiB: give a larger --memory-limit, or start dp-server with a smaller --block-rows or "
                   "--window-blocks",
                   b->name, blocks, b->shape.block_rows, (blocks * largest >> 20) + 1);
}

static dp_err index_all(struct data_blocks *b, struct scanner *scanner, dp_error *err)
{
    struct fingerprint fingerprint;
    struct scan scan = {0};
    uint64_t room = 0, largest = 0;
    fingerprint_begin(&fingerprint);
    dp_err e = place_add(b, &room, (struct place){.line = 1}, err);
    while (!e) {
        e = data_stopped(b->source.stop, err);
        if (!e)
            e = scanner_next(scanner, b->shape.block_rows, &scan, err);
        if (e || scan.rows == 0)
            break;
        b->places[b->block_count].hash = XXH3_64bits(scan.at, scan.bytes);
        e = block_index(b, &scan, &fingerprint, &largest, err);
        b->block_count++;
        if (!e)
            e = place_add(b, &room, (struct place){.offset = scan.offset + scan.bytes, .line = scan.line + scan.lines},
                          err);
    }
    if (!e && b->rows == 0)
        e = dp_fail(err, DP_DATA, "%s: has no rows", b->name);
    else if (!e && b->features == 0)
        e = dp_fail(err, DP_DATA,
                    "%s: no row has a feature; write LABEL INDEX:VALUE ..., or start dp-server with --features",
                    b->name);
    b->fingerprint = fingerprint_end(&fingerprint);
    b->source.features = b->found.schema.count = b->features;
    b->found.name = b->name; /* borrowed */
    if (!e)
        e = numbering_note(&b->numbering, &b->found, err);
    b->found.name = NULL;
    b->blocks = mem_array_zero(b->block_count, sizeof *b->blocks);
    if (!e && !b->blocks)
        e = no_memory(b, err);
    return e ? e : check_budget(b, largest, err);
}

/* Finds the header. The file is read on until its first row and the next are whole. */
static dp_err look_at_first_row(struct data_blocks *b, struct scanner *scanner, dp_error *err)
{
    struct csv_head head = {0};
    size_t bytes = 0;
    const char *text = scanner_head(scanner, &bytes);
    dp_err e = DP_OK;
    for (bool any = true; !e && any && !csv_head_whole(text, bytes); text = scanner_head(scanner, &bytes)) {
        if (bytes > FIRST_ROW_MAX)
            return dp_fail(err, DP_DATA, "%s: its first row is longer than %d MiB", b->name, FIRST_ROW_MAX >> 20);
        e = scanner_more(scanner, &any, err);
    }
    if (!e)
        e = csv_head_read(&b->source, text, bytes, &head, err);
    if (e)
        return e;
    b->header_bytes = head.header_bytes;
    b->header_lines = head.header_lines;
    scanner_passes_over(scanner, head.header_bytes);
    return DP_OK;
}

/* Settles the format and the header by the beginning of the file. */
static dp_err look_at_head(struct data_blocks *b, struct scanner *scanner, dp_error *err)
{
    size_t bytes;
    const char *head = scanner_head(scanner, &bytes);
    if (bytes == 0)
        return dp_fail(err, DP_DATA, "%s: is empty; a LIBSVM or CSV file is needed", b->name);
    if (bytes >= 2 && head[0] == '\x1f' && head[1] == '\x8b')
        return dp_fail(err, DP_DATA, "%s: is gzip, of which no block can be read alone: unpack it", b->name);
    b->source.format = data_format(&b->source, head, bytes, NULL);
    if (b->source.format == DATA_IDX)
        return dp_fail(err, DP_DATA, "%s: is IDX; --memory-limit is for LIBSVM and CSV", b->name);
    const char *foreign = foreign_binary(head, bytes);
    if (foreign)
        return dp_fail(err, DP_DATA, "%s: %s", b->name, foreign);
    return b->source.format == DATA_CSV ? look_at_first_row(b, scanner, err) : DP_OK;
}

static dp_err open_file(struct data_blocks *b, dp_error *err)
{
    struct stat st;
    b->fd = open(b->name, O_RDONLY | O_CLOEXEC);
    if (b->fd < 0 || fstat(b->fd, &st))
        return dp_fail(err, DP_IO, "%s: cannot be opened: %s", b->name, strerror(errno));
    if (!S_ISREG(st.st_mode))
        return dp_fail(err, DP_DATA, "%s: is no regular file, of which blocks could be read again", b->name);
    b->stamp = file_stamp_take(b->fd);
    return DP_OK;
}

dp_err data_blocks_open(const struct data_source *source, const struct data_blocks_shape *shape,
                        struct data_blocks **ret_blocks, dp_error *err)
{
    struct data_blocks *b = mem_array_zero(1, sizeof *b);
    struct scanner scanner = {0};
    if (!b || !(b->name = strdup(source->path))) {
        free(b);
        return dp_fail(err, DP_NOMEM, "%s: out of memory", source->path);
    }
    b->source = *source;
    b->shape = *shape;
    pthread_mutex_init(&b->mutex, NULL);
    dp_err e = open_file(b, err);
    if (!e)
        e = scanner_init(&scanner, b->fd, b->name, err);
    if (!e)
        e = look_at_head(b, &scanner, err);
    if (!e)
        e = index_all(b, &scanner, err);
    if (!e)
        e = file_stamp_check(&b->stamp, b->fd, b->name, err);
    scanner_fini(&scanner);
    if (e)
        data_blocks_free(&b);
    else
        *ret_blocks = b;
    return e;
}

void data_blocks_free(struct data_blocks **ref)
{
    struct data_blocks *b = *ref;
    if (!b)
        return;
    for (uint64_t i = 0; b->blocks && i < b->block_count; i++)
        data_fini(&b->blocks[i].data);
    if (b->fd >= 0)
        close(b->fd);
    pthread_mutex_destroy(&b->mutex);
    data_fini(&b->found);
    free(b->name);
    label_set_fini(&b->labels);
    free(b->places);
    free(b->blocks);
    free(b->text);
    free(b);
    *ref = NULL;
}

struct data_blocks_facts data_blocks_facts(const struct data_blocks *b)
{
    return (struct data_blocks_facts){.name = b->name,
                                      .rows = b->rows,
                                      .features = b->features,
                                      .fingerprint = b->fingerprint,
                                      .sparse = b->sparse,
                                      .labels = b->source.label_use == LABEL_CLASSES ? &b->labels : NULL,
                                      .found = &b->found};
}

/* ---- blocks on demand ---- */

/* Lets go of the block that was used longest ago; false if none is held. */
static bool evict(struct data_blocks *b)
{
    struct block *oldest = NULL;
    for (uint64_t i = 0; i < b->block_count; i++)
        if (b->blocks[i].data.rows && (!oldest || b->blocks[i].used_at < oldest->used_at))
            oldest = &b->blocks[i];
    if (!oldest)
        return false;
    assert(b->used >= oldest->bytes);
    b->used -= oldest->bytes;
    data_fini(&oldest->data);
    return true;
}

static dp_err block_read(struct data_blocks *b, uint64_t index, size_t bytes, dp_error *err)
{
    char *to = b->text;
    uint64_t offset = b->places[index].offset;
    for (size_t done = 0; done < bytes;) {
        ssize_t n = pread(b->fd, to + done, bytes - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return dp_fail(err, DP_IO, "%s: cannot be read again: %s", b->name, strerror(errno));
        if (n == 0)
            return file_stamp_fail(b->name, err);
        done += (size_t)n;
    }
    if (XXH3_64bits(to, bytes) != b->places[index].hash) /* a clock that was set back hides a change from the stamp */
        return file_stamp_fail(b->name, err);
    return file_stamp_check(&b->stamp, b->fd, b->name, err);
}

static dp_err block_load(struct data_blocks *b, uint64_t index, dp_error *err)
{
    struct block *block = &b->blocks[index];
    size_t bytes = (size_t)(b->places[index + 1].offset - b->places[index].offset);
    dp_err e = text_reserve(b, bytes, err);
    if (!e)
        e = block_read(b, index, bytes, err);
    if (!e)
        e = block_parse(b, b->places[index].line, bytes, &block->data, err);
    if (e)
        return e;
    block->bytes = data_bytes(&block->data);
    e = labels_join(b, &block->data, true, err);
    if (e) {
        data_fini(&block->data);
        return e;
    }
    b->used += block->bytes;
    for (block->used_at = UINT64_MAX; b->used > b->shape.budget_bytes && b->used > block->bytes && evict(b);)
        ;
    return DP_OK;
}

/* The block with this row, loaded if it has to be. */
static dp_err block_with(struct data_blocks *b, uint64_t row, const struct data **ret_data, dp_error *err)
{
    struct block *block = &b->blocks[row / b->shape.block_rows];
    dp_err e = block->data.rows ? DP_OK : block_load(b, row / b->shape.block_rows, err);
    block->used_at = ++b->clock;
    *ret_data = &block->data;
    return e;
}

/* ---- gathering ---- */

/* Twice over the rows: how many values they have, then the values, for which there is room then. All of their blocks
 * stay, or are read twice where the budget is short. */
static dp_err gather(struct data_blocks *b, const uint64_t *rows, uint64_t count, struct gathered *g, dp_error *err)
{
    const struct data *block = NULL;
    uint64_t values = 0, at = 0, block_rows = b->shape.block_rows;
    dp_err e = DP_OK;
    for (uint64_t i = 0; !e && i < count; i++) {
        e = block_with(b, rows[i], &block, err);
        values += e ? 0 : gathered_row_values(block, rows[i] % block_rows);
    }
    if (e)
        return e;
    if (!gathered_reserve(g, count, values, b->source.label_use == LABEL_CLASSES, b->sparse))
        return no_memory(b, err);
    if (b->sparse)
        g->data.row_at[0] = 0;
    for (uint64_t i = 0; !e && i < count; i++) {
        e = block_with(b, rows[i], &block, err);
        if (e)
            return e;
        gathered_put(g, i, at, block, rows[i] % block_rows);
        at += gathered_row_values(block, rows[i] % block_rows);
    }
    g->data.rows = count;
    g->data.features = b->features;
    return DP_OK;
}

dp_err data_blocks_gather(struct data_blocks *b, const uint64_t *rows, uint64_t count, struct gathered *gathered,
                          dp_error *err)
{
    pthread_mutex_lock(&b->mutex);
    dp_err e = gather(b, rows, count, gathered, err);
    pthread_mutex_unlock(&b->mutex);
    return e;
}
