/* Whether a member delivers what it owes: by what comes from it, not by what it says. Pure: the caller says what
 * happens and what time it is; no clock, no network.
 *
 * A member that owes slots and delivers nothing may hang while its heartbeats go on (a hung GPU, a deadlock, a link
 * that loses large packets). Each step that ends with its slots overdue, and nothing from it since it was given them,
 * is a miss. After a few misses in a row the member is hung: slots are dealt to others. A hung member is probed: the
 * head tells it a slot of a step to come that another member holds, so nobody waits for it. Any slot that it delivers,
 * even too late to count, ends that, but not before it was left out for longer each time that it hangs again.
 *
 * Invariant: owed_us > 0 where something was given and neither delivered nor, in time, delivered by another. Thread:
 * head. */
#ifndef DP_SERVER_DEAL_DELIVERY_H
#define DP_SERVER_DEAL_DELIVERY_H

#include <stdbool.h>
#include <stdint.h>

enum {
    DELIVERY_MISSES = 3,          /* in a row, until a member that has delivered before is hung */
    DELIVERY_MISSES_NEW = 2,      /* the same of one that never has */
    DELIVERY_SILENT = 16,         /* steps in a row with nothing from a member, though none of its slots was overdue, */
    DELIVERY_SILENT_US = 1000000, /* and at least this long: as many misses */
    DELIVERY_OUT_US = 1000000,    /* a hung member is left out for at least this long */
    DELIVERY_OUT_TIMES = 9,       /* and this many times the time it cost, if it delivers to some shards only */
    DELIVERY_OUT_DOUBLINGS = 6,   /* doubled each time it hangs again, this often at most */
    DELIVERY_RELAPSE_US = 60000000, /* this soon after it delivered again */
    DELIVERY_FLOOR_US = 2000000,    /* these are believed this long, doubled each time that it is late again */
    DELIVERY_FLOOR_DOUBLINGS = 3,   /* at most this often */
    DELIVERY_LATE = 4,              /* steps in a row that it is late with: its speed is what they show */
};

/* A zeroed one is of a member that has just come. */
struct delivery {
    uint64_t owed_us;        /* since when it owes what it may still compute; 0: nothing, so it may be idle */
    uint64_t silent_us;      /* since when it owes and nothing has come; 0: it does not */
    uint64_t came_us;        /* when something last came; 0: never */
    uint32_t misses;         /* in a row */
    uint32_t silent;         /* steps in a row that ended with nothing from it */
    uint64_t longest_us;     /* the longest time that a step's slots took it, of late */
    uint32_t late;           /* steps in a row that it was late with */
    double floor_us;         /* least time of a slot, as these showed; 0: its own reports are believed */
    double shown_us;         /* time of a training slot lately, as it delivered them; 0: not known */
    uint32_t lapses;         /* times that it was late again soon after that was forgotten */
    uint64_t floor_until_us; /* when it is forgotten */
    bool hung;
    uint32_t relapses;
    uint64_t hung_us, until_us; /* hung: since when, and until when at least; else hung_us is when it last ended */
    /* the last probe */
    uint64_t probe_step;
    uint32_t probe_slot;
    uint64_t probe_us, probe_opened_us; /* when it was told, 0: none is out; when its step was opened, 0: not yet */
};

/* It was given something. */
void delivery_owe(struct delivery *delivery, uint64_t now_us);
/* Something has come from it, in time or not; `owes`: more is to come. Whether that ends that it is hung. */
bool delivery_came(struct delivery *delivery, bool owes, uint64_t now_us);
/* Something came so long after its step was opened. */
void delivery_took(struct delivery *delivery, uint64_t took_us);
/* A step has ended: what it was given of that should have come within allowed_us. Whether it is hung from now on. */
bool delivery_step_ended(struct delivery *delivery, uint64_t allowed_us, uint64_t now_us);
/* It is hung from now on: it has cost the job cost_us, and may do so again however much it delivers. */
void delivery_hang(struct delivery *delivery, uint64_t cost_us, uint64_t now_us);
/* Its deliveries of a step show that a slot takes it slot_us; `late`: far more than was expected. */
void delivery_late(struct delivery *delivery, bool late, double slot_us, uint64_t now_us);
/* It delivered all it held of a training step, each slot in slot_us. */
void delivery_shown(struct delivery *delivery, double slot_us);
/* Now and then: what was shown is forgotten in time, so that it can be seen anew. */
void delivery_forget(struct delivery *delivery, uint64_t now_us);
/* A probe has been sent; its step was opened; slots [first, end) of a step have come: an answer says what one takes. */
void delivery_probed(struct delivery *delivery, uint64_t step, uint32_t slot, uint64_t now_us);
void delivery_opened(struct delivery *delivery, uint64_t step, uint64_t now_us);
void delivery_answered(struct delivery *delivery, uint64_t step, uint32_t first, uint32_t end, uint64_t now_us);

#endif
