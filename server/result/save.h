/* The end of a job: its model is written to --export FILE. Thread: head. */
#ifndef DP_SERVER_RESULT_SAVE_H
#define DP_SERVER_RESULT_SAVE_H

#include <jansson.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct event;
struct export;
struct head;
struct news;

/* The model's way to --export FILE. */
struct saving {
    struct export *export; /* pins are being collected, or it is being written; NULL: none, or it is to be made anew */
    uint64_t step;         /* of its theta */
    uint64_t pin;          /* number of its pins */
    uint64_t asked_ms;     /* when they were asked for */
    int held;              /* a file without a name beside FILE, opened at the start; -1: none */
    bool exporting;        /* until the model is written, or is given up */
    bool waiting;          /* the last try failed, and another one follows */
    uint32_t tries;        /* that failed */
    uint64_t failed_ms;    /* when the first one did */
    uint64_t next_ms;      /* when the next one begins */
    dp_error err;          /* of the last one */
    char path[PATH_MAX];   /* of the model, once it is written; "" before */
};

/* Before the job: what can be known of --export FILE. DP_IO. */
DP_MUST_CHECK dp_err head_export_check(struct head *head, dp_error *err);
/* The model's size is known: whether there is room for it. DP_IO. */
DP_MUST_CHECK dp_err head_export_check_room(const struct head *head, dp_error *err);
/* Asks the shards for their parts of theta at a step that all of them hold. */
void head_export_at(struct head *head, uint64_t step);
/* Whether the pins were those of the model, which has taken them then. */
bool head_export_pinned(struct head *head, uint32_t shard, struct event *event);
/* NEWS_OVER: the model is written, and the job is done. */
void head_export_over(struct head *head, const struct news *news);
/* NEWS_TICK: another try where the last one failed. */
void head_export_watch(struct head *head, const struct news *news);
/* No further try is made. */
void head_export_give_up(struct head *head);
void head_export_fini(struct head *head);
/* Its part of the status; a new reference. */
json_t *head_export_json(const struct head *head);

#endif
