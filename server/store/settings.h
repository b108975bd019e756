/* DIR/settings.jsonl: what dp-ctl has set since the job began, a line each, so that a server that is killed loses none
 * of it: a manifest says how many it has, and a job that goes on takes the others from here.
 *
 *     {"number":1,"name":"lr","from":150,"value":"3fb999999999999a","xxh3":"0123456789abcdef"}
 *
 * value: the bits of the rate, or the staleness in hexadecimal; xxh3: the digest of the line before its comma. A last
 * line without its newline was cut short by a kill, before anybody was told that it is set.
 * Thread: as stated. */
#ifndef DP_SERVER_STORE_SETTINGS_H
#define DP_SERVER_STORE_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct folder;
struct stream_waker;
struct writer;

struct setting_record {
    uint64_t number; /* ascending since the job began; one that could not be written is missing */
    enum setting_name { SETTING_NAME_LR, SETTING_NAME_CONSISTENCY } name;
    uint64_t from;  /* training step (lr), step of the plan (consistency) that it holds from */
    uint64_t value; /* bits of a double (lr), staleness (consistency) */
};

/* Reads all lines; heap, none where there is no file. DP_DATA naming the line that is damaged, DP_IO, DP_NOMEM.
 * Thread: the head's, before a job runs. */
DP_MUST_CHECK dp_err settings_read(const struct folder *folder, struct setting_record **ret_list, size_t *ret_count,
                                   dp_error *err);
/* Parses what settings_read has read; `name` is used in errors. The fuzz target calls it. */
DP_MUST_CHECK dp_err settings_parse(const char *name, const char *text, size_t bytes, struct setting_record **ret_list,
                                    size_t *ret_count, dp_error *err);
/* A job begins anew: removes the file. DP_IO. Thread: the head's, before a job runs. */
DP_MUST_CHECK dp_err settings_clear(const struct folder *folder, dp_error *err);

struct setting_write;
/* Has the writer append a line and sync it, then calls `done`. DP_NOMEM. Thread: head. */
DP_MUST_CHECK dp_err settings_write(struct writer *writer, const struct folder *folder,
                                    const struct setting_record *record, const struct stream_waker *done,
                                    struct setting_write **ret_write);
/* Whether it has ended, and how: DP_IO. Thread: head. */
bool setting_written(const struct setting_write *write, dp_error *ret_err);
/* Frees one that has ended. Accepts NULL. Thread: head. */
void setting_write_free(struct setting_write **write);

#endif
