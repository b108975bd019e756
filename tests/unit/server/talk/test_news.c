/* News: who hears of it, in which order. */
#include <criterion/criterion.h>

#include "server/talk/shared.h"

static char heard[16];

static void hear(char who)
{
    size_t at = strlen(heard);
    cr_assert_lt(at, sizeof heard - 1);
    heard[at] = who;
}

static void first(struct head *head, const struct news *news)
{
    (void)head;
    cr_assert_eq(news->now_ms, 77);
    hear('a');
}

static void second(struct head *head, const struct news *news)
{
    (void)head;
    (void)news;
    hear('b');
}

/* It says news of its own, which is heard of before the rest hears of this. */
static void says_more(struct head *head, const struct news *news)
{
    (void)news;
    hear('(');
    head_news(head, &(struct news){.kind = NEWS_LEFT});
    hear(')');
}

static void failed(struct head *head, const struct news *news)
{
    (void)head;
    cr_assert_eq(news->err->code, DP_STALLED);
    hear('f');
}

static const struct news_table TABLE = {.of = {
                                            [NEWS_TICK] = {first, second, first},
                                            [NEWS_JOINED] = {says_more, second},
                                            [NEWS_LEFT] = {second},
                                            [NEWS_FAILED] = {failed},
                                        }};

Test(news, is_heard_of_in_the_order_of_the_table_by_those_of_its_kind)
{
    struct head head = {.hearers = &TABLE};
    head_news(&head, &(struct news){.kind = NEWS_TICK, .now_ms = 77});
    cr_assert_str_eq(heard, "aba");
    head_news(&head, &(struct news){.kind = NEWS_OVER});
    cr_assert_str_eq(heard, "aba", "nobody hears of this kind");
}

Test(news, that_follows_from_news_is_heard_of_first)
{
    struct head head = {.hearers = &TABLE};
    head_news(&head, &(struct news){.kind = NEWS_JOINED});
    cr_assert_str_eq(heard, "(b)b");
}

Test(news, of_a_failure_has_its_reason)
{
    struct head head = {.hearers = &TABLE};
    head_fail(&head, &(dp_error){.code = DP_STALLED});
    cr_assert_str_eq(heard, "f");
}
