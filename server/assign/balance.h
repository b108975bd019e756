/* State of the head's chapters: each struct is one file's, as a member of struct head. For the files of the head only.
 * Thread: head. */
#ifndef DP_SERVER_HEAD_PARTS_H
#define DP_SERVER_HEAD_PARTS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "server/deal/dealer.h"
#include "server/deal/speculation.h"
#include "server/members/members.h"
#include "server/save/export.h"
#include "server/shard/setting.h"
#include "server/show/trend.h"

/* A change that is being agreed on with the shards (step-stamped control): prepared at `step`, until all have promised
 * the same one. */
struct control {
    bool busy;
    uint32_t missing; /* answers */
    uint64_t step;    /* asked for */
    uint64_t latest;  /* of the answers */
    struct setting setting;
    struct routing_id route; /* who asked */
    uint64_t request;
};

/* Joins of late: whether they are a storm. */
struct storm {
    uint64_t begun_ms;      /* when the window at hand began */
    uint32_t joins, before; /* in this window, and in the one before */
};

/* Speeds of members, and what is done about them. */
struct balance {
    struct speculation speculation;
    double *speed;                  /* [SESSIONS_MAX] by member number, their mean is 1 */
    double *slot_us;                /* [SESSIONS_MAX] scratch */
    double step_us;                 /* what a step takes lately; 0: not known */
    uint64_t looked_us, looked_low; /* when steps were last counted, and how many were complete */
    struct dealer_member *dealt;    /* [SESSIONS_MAX] scratch */
    struct speculation_gift *gifts; /* [slots] scratch */
    uv_timer_t timer;               /* when a slot may have become late */
    uint64_t looked_ms;             /* when deals were last looked at */
    uint64_t moves;                 /* deals that speeds brought about */
    uint64_t changes;               /* of who is hung, as far as slots were dealt by them */
};

/* A step that waits. */
struct stall {
    uint64_t opened_ms; /* when the open step was opened */
    bool reported;      /* this step is one that stalls */
    bool put_off;       /* that was not said yet, because what it waits for is on its way */
};

/* The slots of a step that the shards say they are owed. */
struct owed {
    uint64_t step;    /* they were asked of */
    uint32_t missing; /* answers */
    uint32_t holding; /* shards that have parameters */
    uint32_t shards;  /* of those that have answered: that are owed any */
    bool passed;      /* one of them was not asked, or is at another step */
    bool *slots;      /* [slots] that any of them is owed, so far */
};

/* A local job (--data-mode local): who has data of its own has a slot of its own, its rank. */
struct rank {
    uint32_t holder;   /* member number, DEALER_NOBODY: none; then the slot is void */
    uint32_t last;     /* the last holder, DEALER_NOBODY before there was one */
    bool finished;     /* its data are through: void for good */
    uint64_t given_us; /* when the last holder got it */
    uint32_t stalls;   /* times in a row that the last holder was given up, having delivered nothing */
    uint64_t until_ms; /* until then it gets none, 0: it may */
};

struct ranks {
    struct rank *list; /* [slots], NULL where the job is not local */
    bool begun;        /* until then all slots are void: the others are waited for */
    uint64_t go;       /* steps before this may be committed */
    uint64_t number;   /* of the last roster that was sent */
    bool changed;      /* since then */
    uint64_t dealt_ms; /* when members last changed */
    uint64_t *ready;   /* [port_count] steps that a shard has all of, by the roster named in */
    uint64_t *known;   /* [port_count] */
};

/* Steps that slots may be left out of. */
struct drop {
    uint64_t go;     /* steps before this may be committed */
    uint64_t *ready; /* [port_count] steps that a shard has all of; NULL where nothing can be dropped */
    uint64_t *few;   /* [port_count] 1 + the last step of which a shard was owed few enough */
    bool *last;      /* [slots] what was dropped last */
    bool again;      /* more has come since the shards were asked what they are owed */
    bool stalled;    /* they are asked since the step stalls */
    uint64_t late;   /* when this step opens, the workers of the last dropped slots are told; 0: they have been */
    uint64_t steps, slots, samples; /* so far: with dropped slots, and what was dropped */
};

/* The model's way to --export FILE. */
struct saving {
    struct export *export; /* pins are being collected, or it is being written; NULL: none, or it is to be made anew */
    uint64_t step;         /* of its theta */
    uint64_t pin;          /* number of its pins */
    uint64_t asked_ms;     /* when they were asked for */
    int held;              /* a file without a name beside FILE, opened at the start; -1: none */
    bool waiting;          /* the last try failed, and another one follows */
    uint32_t tries;        /* that failed */
    uint64_t failed_ms;    /* when the first one did */
    uint64_t next_ms;      /* when the next one begins */
    dp_error err;          /* of the last one */
    char path[PATH_MAX];   /* where the model is; "" before */
};

/* How the server ends, for --json's last object. */
struct ending {
    const char *event; /* "stopped", "diverged", "failed"; NULL: not known */
    char reason[1024]; /* one line */
    bool told;
};

enum { DOUBTS_MAX = 8, DOUBT_TEXT_MAX = 700 };

/* Whether training goes anywhere, and what was said about it. */
struct doubts {
    struct trend trend;
    uint32_t count;
    char texts[DOUBTS_MAX][DOUBT_TEXT_MAX];
};

#endif
