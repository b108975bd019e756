/* Members that come with many others are guests at first. Thread: head. */
#ifndef DP_SERVER_ASSIGN_GUESTS_H
#define DP_SERVER_ASSIGN_GUESTS_H

#include <stdint.h>

struct head;
struct news;

/* Joins of late: whether they are a storm. */
struct storm {
    uint64_t begun_ms;      /* when the window at hand began */
    uint32_t joins, before; /* in this window, and in the one before */
};

void head_guests_joined(struct head *head, const struct news *news);
void head_guests_left(struct head *head, const struct news *news);
/* NEWS_TICK. */
void head_guests_watch(struct head *head, const struct news *news);

#endif
