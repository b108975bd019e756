/* Reads what the shim has written down; see disk_log.h. */
#include "tests/fault/disk_log.h"

#include <stdio.h>
#include <stdlib.h>

/* bytes of the file and a NUL. */
static char *read_text(FILE *file, uint64_t bytes)
{
    char *text = malloc(bytes + 1);
    if (!text)
        abort();
    if (fread(text, 1, bytes, file) != bytes) {
        free(text);
        return NULL;
    }
    text[bytes] = '\0';
    return text;
}

static void op_free(struct disk_op *op)
{
    free(op->path);
    free(op->other);
    free(op->data);
}

static bool read_op(FILE *file, struct disk_op *op)
{
    *op = (struct disk_op){0};
    if (fread(&op->record, sizeof op->record, 1, file) != 1)
        return false;
    op->path = read_text(file, op->record.path_bytes);
    op->other = read_text(file, op->record.other_bytes);
    op->data = read_text(file, op->record.data_bytes);
    if (op->path && op->other && op->data)
        return true;
    op_free(op); /* the record of a process that was killed in the middle */
    return false;
}

bool disk_log_read(const char *path, struct disk_log *ret_log)
{
    FILE *file = fopen(path, "re");
    struct disk_log log = {0};
    struct disk_op op;
    while (file && read_op(file, &op)) {
        log.ops = realloc(log.ops, (log.count + 1) * sizeof *log.ops);
        if (!log.ops)
            abort();
        log.ops[log.count++] = op;
    }
    *ret_log = log;
    return file && fclose(file) == 0;
}

void disk_log_free(struct disk_log *log)
{
    for (size_t i = 0; i < log->count; i++)
        op_free(&log->ops[i]);
    free(log->ops);
    *log = (struct disk_log){0};
}

size_t disk_log_faults(const struct disk_log *log)
{
    size_t count = 0;
    for (size_t i = 0; i < log->count; i++)
        count += log->ops[i].record.fault != 0;
    return count;
}
