/* The end of a job that went well, by a failure, by signals. Thread: head. */
#ifndef DP_SERVER_HEAD_END_H
#define DP_SERVER_HEAD_END_H

#include <uv.h>

struct head;
struct news;

/* NEWS_SAVED: the job is done. */
void head_end_saved(struct head *head, const struct news *news);
/* NEWS_CHECKPOINT: what has waited for it goes on. */
void head_end_checkpoint(struct head *head, const struct news *news);
/* NEWS_FAILED. */
void head_end_failed(struct head *head, const struct news *news);
void head_on_signal(uv_signal_t *handle, int number);

#endif
