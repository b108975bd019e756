#include "server/talk/news.h"

#include <assert.h>

#include "server/talk/shared.h"

void head_news(struct head *head, const struct news *news)
{
    assert(head->hearers && news->kind < NEWS_KINDS);
    const news_hearer *hearers = head->hearers->of[news->kind];
    for (size_t i = 0; i < NEWS_HEARERS_MAX && hearers[i]; i++)
        hearers[i](head, news);
}

void head_fail(struct head *head, const dp_error *err)
{
    head_news(head, &(struct news){.kind = NEWS_FAILED, .err = err});
}
