/* Standard output and standard error of a program that must not wait for whoever reads them: a paused terminal, a full
 * pipe, a dead log shipper, a hung disk. stderr and stdout become streams of outlets (outlet.h), so that all that is
 * printed, by libraries and by assert too, goes the same way. Thread: main, but for output_line. */
#ifndef DP_COMMON_BASE_OUTPUT_H
#define DP_COMMON_BASE_OUTPUT_H

#include <stdbool.h>
#include <stdio.h>

#include "common/base/dp_err.h"

/* From now on stderr does not block; stdout neither where `json` says that it has the objects of --json. `program`
 * ("dp-server") is borrowed for ever. Before other threads start. DP_NOMEM, DP_SYSTEM. */
DP_MUST_CHECK dp_err output_start(const char *program, bool json, dp_error *err);

/* A whole line to stderr, in one piece. Thread: any. */
void output_line(const char *line, size_t bytes);

/* The descriptor behind a stream, be it an outlet's or not; -1: none. */
int output_fd(FILE *stream);

/* Ends stdout: waits a bounded time for its reader (outlet.h). Without an outlet stdout is flushed. Lines that
 * were not read are counted on stderr, and are no error: the job is not to be run again for them. DP_IO: writing
 * failed. */
DP_MUST_CHECK dp_err output_end_json(dp_error *err);
/* Ends stderr in the same way; what is printed afterwards is dropped. Other threads print no more. */
void output_end(void);

#endif
