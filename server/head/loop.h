/* The head's loop: what wakes it, and who hears of what. Thread: head. */
#ifndef DP_SERVER_HEAD_LOOP_H
#define DP_SERVER_HEAD_LOOP_H

#include <uv.h>

struct head;
struct news;

struct loop_handles {
    uv_timer_t tick;
    uv_signal_t on_term, on_int, on_hup, on_child;
};

/* Puts all on the loop that the head hears of, and itself into struct head as the one that passes news on. */
void head_loop_start(struct head *head);
/* NEWS_TICK: what is no module's; the display, when all else is done. */
void head_loop_tick(struct head *head, const struct news *news);
void head_loop_show(struct head *head, const struct news *news);
/* NEWS_CLOSING. */
void head_loop_close(struct head *head, const struct news *news);

#endif
