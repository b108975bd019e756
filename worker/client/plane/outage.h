/* Interruptions of the way to the server. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_PLANE_OUTAGE_H
#define DP_WORKER_CLIENT_PLANE_OUTAGE_H

#include <stdbool.h>
#include <stdint.h>

struct plane;
struct shard;

struct outage {
    uint32_t seen;    /* of beat.outages */
    uint64_t look_ms; /* next look at the connections */
};

/* Whether nothing got through to the head for a while, and it does now: all connections are to be made anew. */
bool outage_is_over(struct plane *plane);
/* All connections are new. */
void outage_forget(struct plane *plane);
/* Takes what is new of the shard's connections: lost ones, and ones that are back. */
void outage_news(struct plane *plane, struct shard *shard);
/* Looks now and then whether bytes arrive, and makes a connection anew if they do not. */
void outage_look(struct plane *plane, uint64_t now_ms);
/* The shard is about to be asked (again): likewise if nothing has come of it since the last question. */
void outage_unanswered(struct plane *plane, struct shard *shard, uint64_t now_ms);

#endif
