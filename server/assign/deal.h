/* Deals: which slots each member has. Thread: head. */
#ifndef DP_SERVER_ASSIGN_DEAL_H
#define DP_SERVER_ASSIGN_DEAL_H

#include <stdint.h>
#include <uv.h>

#include "common/base/dp_err.h"

struct head;
struct news;
struct deal;

struct deals {
    struct deal *granted; /* that all shards were told; NULL: there is none */
    uv_timer_t timer;     /* runs while members have changed and slots are not dealt anew */
    uint64_t dealt_ms;    /* when they last were */
};

/* The loop is there. NEWS_CLOSING. */
void head_deal_open(struct head *head);
void head_deal_close(struct head *head, const struct news *news);
/* The job is settled. DP_NOMEM. */
DP_MUST_CHECK dp_err head_deal_start(struct head *head);
/* It is no longer. */
void head_deal_stop(struct head *head);
void head_deal(struct head *head);
/* Members have changed: deals at once, or where many come and go, a little later for all of them. */
void head_deal_soon(struct head *head);
void head_deal_joined(struct head *head, const struct news *news);
void head_deal_left(struct head *head, const struct news *news);

#endif
