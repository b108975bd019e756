/* A small model of a file system that loses whatever POSIX lets it lose: after a crash, data that no fsync of its file
 * followed may be there, missing, or zeros; a name that was made, moved or removed without an fsync of its folder
 * may have been, or not, each independently of the others. From a log of calls it makes the folders that a machine
 * might have after a crash at any of them. Thread: any. */
#ifndef DP_TESTS_FAULT_DISK_MODEL_H
#define DP_TESTS_FAULT_DISK_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk_log;
struct disk_model;

/* Events of the log's calls that were done. NULL: a call is on a name that the log does not know. Files whose name
 * `skip` has are left out. */
struct disk_model *disk_model_new(const struct disk_log *log, const char *const *skip);
void disk_model_free(struct disk_model **model);

/* Crashes: before the first call, ..., after the last one. */
size_t disk_model_crashes(const struct disk_model *model);
/* Events before crash `at` that may have been lost. */
size_t disk_model_pending(const struct disk_model *model, size_t at);

enum disk_fate { DISK_LOST, DISK_KEPT, DISK_ZEROS /* a write made its file longer, and nothing else */ };
/* The state after crash `at`: fates[i] is that of its pending event i; events that are synced are kept. */
struct disk_state;
struct disk_state *disk_state_new(const struct disk_model *model, size_t at, const uint8_t *fates);
void disk_state_free(struct disk_state **state);
/* A digest of what can be seen: names, and the bytes of files in folders without a dot. */
uint64_t disk_state_digest(const struct disk_state *state);
/* Makes it as a folder, which must not be there. */
bool disk_state_write(const struct disk_state *state, const char *path);

#endif
