/* The log of a program's disk, which the shim (disk_shim.c) writes: the calls on paths under one
 * folder, in the order in which they were done, with their data. A record is a struct disk_record, path[path_bytes],
 * other[other_bytes], data[data_bytes]. Thread: any. */
#ifndef DP_TESTS_FAULT_DISK_LOG_H
#define DP_TESTS_FAULT_DISK_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum disk_call {
    DISK_CREATE = 1, /* open that makes a file or empties one */
    DISK_WRITE,
    DISK_SYNC,   /* fsync, fdatasync; of a file or a folder */
    DISK_RENAME, /* to `other` */
    DISK_EXCHANGE,
    DISK_UNLINK, /* unlink, rmdir */
    DISK_MKDIR,
    DISK_CALLS
};

/* Environment of the shim. */
#define DISK_ENV_FOLDER "DISK_FOLDER" /* absolute; calls on other paths are left alone */
#define DISK_ENV_LOG "DISK_LOG"       /* records are added to this file */
#define DISK_ENV_AT "DISK_AT"         /* the call at which something happens, from 1; 0 or none: nothing does */
#define DISK_ENV_DO "DISK_DO"         /* one of DISK_FAULTS */
#define DISK_ENV_SLOW "DISK_SLOW_MS"  /* each call takes so much longer; none: none does */

enum disk_fault {
    DISK_KILL,   /* the process ends before the call */
    DISK_TEAR,   /* it ends after the call, of a write after half of it */
    DISK_SHORT,  /* half of the bytes are written, which write(2) may do */
    DISK_ENOSPC, /* this call fails */
    DISK_EIO,    /* this call fails */
    DISK_FULL,   /* this call, and all later ones that need room, fail */
    DISK_HANG,   /* this call and all later ones do not return */
    DISK_FAULT_COUNT
};
#define DISK_FAULTS "kill", "tear", "short", "enospc", "eio", "full", "hang"

struct disk_record {
    uint32_t call;  /* enum disk_call */
    uint32_t fault; /* 1 + enum disk_fault where it was made to fail or to be short, else 0 */
    int32_t failed; /* errno, 0: it was done */
    uint32_t path_bytes, other_bytes;
    uint32_t truncates; /* CREATE: what is there is emptied */
    uint64_t offset, data_bytes;
};

struct disk_op {
    struct disk_record record;
    char *path, *other; /* relative to the folder, "" is the folder */
    char *data;
};
struct disk_log {
    struct disk_op *ops;
    size_t count;
};
/* False where it cannot be read. Freed by disk_log_free. */
bool disk_log_read(const char *path, struct disk_log *ret_log);
void disk_log_free(struct disk_log *log);
/* Records with a fault. */
size_t disk_log_faults(const struct disk_log *log);

#endif
