/* News of a job: a module says what has happened, and the table that server/head/loop.c gives to struct head has the
 * functions that hear of it, in their order. So a module calls none that stands above it. Thread: head. */
#ifndef DP_SERVER_TALK_NEWS_H
#define DP_SERVER_TALK_NEWS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/dp_err.h"

struct head;
struct member;

enum news_kind {
    NEWS_JOINED,     /* a member has joined, or says so again: its connection may be another one */
    NEWS_LEFT,       /* a member was fenced */
    NEWS_STEP,       /* global_low has moved */
    NEWS_OVER,       /* no step will follow */
    NEWS_SAVED,      /* OVER: the model is written, or there is no file for it */
    NEWS_CHECKPOINT, /* one is whole, or is given up */
    NEWS_TICK,       /* every 250 ms */
    NEWS_FAILED,     /* the job cannot go on */
    NEWS_CLOSING,    /* modules close what they have on the loop */
    NEWS_KINDS,
};

enum { NEWS_HEARERS_MAX = 16 };

struct news {
    enum news_kind kind;
    struct member *member; /* JOINED */
    bool again;            /* JOINED: it had joined before */
    uint64_t token;        /* LEFT: its session's, void by now */
    bool had_joined;       /* LEFT */
    bool saved;            /* SAVED: there is a file */
    uint64_t now_ms;       /* TICK */
    const dp_error *err;   /* FAILED */
};

typedef void (*news_hearer)(struct head *head, const struct news *news);

/* For each kind its functions, one after the other, up to the first NULL. */
struct news_table {
    news_hearer of[NEWS_KINDS][NEWS_HEARERS_MAX];
};

/* Calls all that hear of it, before it returns. */
void head_news(struct head *head, const struct news *news);
/* The job cannot go on: says so. */
void head_fail(struct head *head, const dp_error *err);

#endif
