#include "tests/unit/support/bare_head.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

static void count_news(struct head *head, const struct news *news)
{
    ((struct bare_head *)head)->said[news->kind]++;
}

void bare_head_init(struct bare_head *bare, uint32_t slots, bool local)
{
    struct head *head = &bare->head;
    *bare = (struct bare_head){.opts = {.lease_s = 10, .stall_timeout_s = 5}};
    head->opts = &bare->opts;
    head->state = HEAD_RUNNING;
    for (int kind = 0; kind < NEWS_KINDS; kind++)
        bare->table.of[kind][0] = count_news;
    head->hearers = &bare->table;
    head->talk.zuv.closing = true; /* all that is sent is refused */
    head->deals = &bare->deals;
    head->balance = &bare->balance;
    head->storm = &bare->storm;
    head->lease = &bare->lease;
    head->ranks = &bare->ranks;
    head->drop = &bare->drop;
    head->owed = &bare->owed;
    head->stall = &bare->stall;
    head->job.settled = true;
    head->job.core.local = local;
    head->job.core.plan = (struct plan){.train_rows = slots, .batch = slots, .train_steps = 100, .slots = slots};
    head->numbers = mem_array(SESSIONS_MAX, sizeof *head->numbers);
    cr_assert_not_null(head->numbers);
    cr_assert_eq(members_init(&head->members), DP_OK);
    cr_assert_eq(uv_loop_init(&head->loop), 0);
    head_deal_open(head);
    cr_assert_eq(head_balance_init(head), DP_OK);
    head_balance_open(head);
    cr_assert_eq(head_deal_start(head), DP_OK);
    cr_assert_eq(head_balance_start(head), DP_OK);
    cr_assert_eq(head_ranks_start(head), DP_OK);
    cr_assert_eq(head_owed_start(head), DP_OK);
}

void bare_head_fini(struct bare_head *bare)
{
    struct head *head = &bare->head;
    const struct news closing = {.kind = NEWS_CLOSING};
    head_owed_stop(head);
    head_ranks_stop(head);
    head_balance_stop(head);
    head_deal_stop(head);
    head_deal_close(head, &closing);
    head_balance_close(head, &closing);
    uv_run(&head->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&head->loop), 0);
    head_balance_fini(head);
    members_fini(&head->members);
    free(head->numbers);
}

struct member *bare_head_join(struct bare_head *bare, uint64_t worker, uint64_t now_ms)
{
    char name[32];
    snprintf(name, sizeof name, "w%llu", (unsigned long long)worker);
    struct member *member = members_add(&bare->head.members, worker, name, 0);
    cr_assert_not_null(member);
    members_join(&bare->head.members, member, now_ms);
    member->last_seen_ms = now_ms;
    return member;
}
