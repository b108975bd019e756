/* Files of kinds that are not read, recognized so that an error can say what to do. Thread: any. */
#ifndef DP_WORKER_DATA_FOREIGN_H
#define DP_WORKER_DATA_FOREIGN_H

#include <stddef.h>

/* The second half of a sentence that says what to do ("is compressed by xz; ..."), or NULL. A file that no reader
 * takes, by its first bytes (IDX files apart). */
const char *foreign_binary(const void *bytes, size_t size);
/* A text that a reader has refused, whose lines or beginning say why. */
const char *foreign_text(const void *bytes, size_t size);

#endif
