/* A head without a loop, a socket or shards: its job, members and the modules of server/assign. It counts the news that
 * they say. Ownership: bare_head_fini frees all. */
#ifndef DP_TESTS_UNIT_SUPPORT_BARE_HEAD_H
#define DP_TESTS_UNIT_SUPPORT_BARE_HEAD_H

#include "server/assign/balance.h"
#include "server/assign/deal.h"
#include "server/assign/drop.h"
#include "server/assign/guests.h"
#include "server/assign/lease.h"
#include "server/assign/owed.h"
#include "server/assign/ranks.h"
#include "server/assign/stall.h"
#include "server/talk/shared.h"

struct bare_head {
    struct head head; /* the first member */
    struct server_options opts;
    struct deals deals;
    struct balance balance;
    struct storm storm;
    struct lease lease;
    struct ranks ranks;
    struct drop drop;
    struct owed owed;
    struct stall stall;
    struct news_table table; /* one that counts, for each kind */
    uint32_t said[NEWS_KINDS];
};

/* A settled job of these slots that runs; `local`: slot = rank. */
void bare_head_init(struct bare_head *bare, uint32_t slots, bool local);
void bare_head_fini(struct bare_head *bare);
/* A worker says hello and joins; its number in the server. */
struct member *bare_head_join(struct bare_head *bare, uint64_t worker, uint64_t now_ms);

#endif
