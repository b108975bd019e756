/* Files that are replaced as a whole. Thread: any. */
#ifndef DP_COMMON_BASE_FILE_H
#define DP_COMMON_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/base/dp_err.h"

/* Replaces `path` as a whole: writes through `write(arg, fd)` into a temporary file in the same folder (without a
 * name until it is whole, where the file system knows such, so that nothing is left of a process that is killed),
 * fsyncs it, renames it over path and fsyncs the folder. On failure nothing at `path` has changed. A file that was
 * there passes its mode on, and of a symbolic link the file it leads to is replaced. DP_IO with the reason; a folder, a
 * device or a pipe is not replaced. */
DP_MUST_CHECK dp_err file_replace(const char *path, dp_err (*write)(void *arg, int fd, dp_error *err), void *arg,
                                  dp_error *err);
/* The same through a descriptor of file_hold, *held, or one opened now where *held is -1. Once the file is in place, or
 * it cannot be given a name there, the descriptor is closed and *held is -1; where the writing failed it is held on,
 * and emptied, for another try. */
DP_MUST_CHECK dp_err file_replace_held(int *held, const char *path, dp_err (*write)(void *arg, int fd, dp_error *err),
                                       void *arg, dp_error *err);
/* A file without a name in the folder of `path`, so that used-up descriptors do not matter later on. Nothing is left of
 * it when the process ends. -1 where the file system has none such. */
int file_hold(const char *path);
/* Free bytes that this user may fill in the folder of `path`; UINT64_MAX where nothing is known. */
uint64_t file_room_bytes(const char *path);
/* Whether two paths lead to one file that is there, or are the same. */
bool file_same(const char *a, const char *b);
/* Whether file_replace could work, found out by making and removing its temporary file; DP_IO with the reason. */
DP_MUST_CHECK dp_err file_replace_check(const char *path, dp_error *err);
/* read(2), and again where a signal came. */
ssize_t file_read_some(int fd, void *to, size_t bytes);
/* All bytes of an open plain file, heap. DP_DATA where they are more than `most`, DP_IO, DP_NOMEM; the text names
 * `path`. */
DP_MUST_CHECK dp_err file_load(int fd, const char *path, size_t most, char **ret_text, size_t *ret_bytes,
                               dp_error *err);
/* write(2) until all of it is written. */
DP_MUST_CHECK dp_err file_write_all(int fd, const void *data, size_t bytes, dp_error *err);

#endif
