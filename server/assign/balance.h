/* Speeds of workers, and what follows: deals by speed, and copies of late slots. Thread: head. */
#ifndef DP_SERVER_ASSIGN_BALANCE_H
#define DP_SERVER_ASSIGN_BALANCE_H

#include <jansson.h>
#include <stdint.h>
#include <uv.h>

#include "proto/frame.h"
#include "server/deal/dealer.h"
#include "server/deal/speculation.h"
#include "server/deal/speculation_decide.h"

struct head;
struct member;
struct news;

/* Speeds of members, and what is done about them. */
struct balance {
    struct speculation speculation;
    double *speed;                  /* [SESSIONS_MAX] by member number, their mean is 1 */
    double *slot_us;                /* [SESSIONS_MAX] scratch */
    double step_us;                 /* that a step takes lately; 0: not known */
    uint64_t looked_us, looked_low; /* when steps were last counted, and how many were complete */
    struct dealer_member *dealt;    /* [SESSIONS_MAX] scratch */
    struct speculation_gift *gifts; /* [slots] scratch */
    uv_timer_t timer;               /* when a slot may have become late */
    uint64_t looked_ms;             /* when deals were last looked at */
    uint64_t moves;                 /* deals that speeds brought about */
    uint64_t changes;               /* of who is hung, as far as slots were dealt by them */
};

DP_MUST_CHECK dp_err head_balance_init(struct head *head);
void head_balance_fini(struct head *head);
/* The loop is there. NEWS_CLOSING. */
void head_balance_open(struct head *head);
void head_balance_close(struct head *head, const struct news *news);
/* The job is settled. DP_NOMEM. */
DP_MUST_CHECK dp_err head_balance_start(struct head *head);
/* It is no longer. */
void head_balance_stop(struct head *head);
/* The members that slots are dealt to (none while there are not enough), with their speeds, to balance.dealt; returns
 * how many. */
uint32_t head_balance_members(struct head *head);
/* Steps after the open one that may be begun beside it. */
uint32_t head_ahead(const struct head *head);
/* Takes from a heartbeat its member's speed. */
void head_measure(struct member *member, const Dp__Heartbeat *beat);
/* Slots [*ret_first, *ret_end) that a node of the tree covers, by its heap number. */
void head_node_slots(const struct head *head, uint32_t node, uint32_t *ret_first, uint32_t *ret_end);
/* Reads what the shard of the first slice says has come. */
void head_on_arrivals(struct head *head);
/* The open step's slots were dealt. */
void head_balance_dealt(struct head *head);
/* NEWS_STEP. */
void head_balance_step(struct head *head, const struct news *news);
/* NEWS_TICK. */
void head_balance_watch(struct head *head, const struct news *news);
/* Gives late slots to the idle. */
void head_speculate(struct head *head);
json_t *head_balance_json(const struct head *head);

#endif
