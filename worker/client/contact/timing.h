/* Waits of a client, in ms; tests make them short. */
#ifndef DP_WORKER_CLIENT_CONTACT_TIMING_H
#define DP_WORKER_CLIENT_CONTACT_TIMING_H

#include <stdint.h>

struct client_timing {
    uint64_t poll;        /* longest single wait: how soon config.stop is seen */
    uint64_t retry;       /* first wait between attempts to reach a server; doubles */
    uint64_t retry_max;   /* ... up to this */
    uint64_t ask_again;   /* hello and join are sent again after so long without an answer */
    uint64_t resend;      /* pushes and pulls without an answer are sent again after so long; doubles */
    uint64_t resend_max;  /* ... up to this */
    uint64_t busy;        /* wait after BUSY; doubles */
    uint64_t busy_max;    /* ... up to this */
    uint64_t shard_lost;  /* a shard that is lost for so long is looked for in a new session */
    uint64_t notice;      /* a person is told of trouble this often */
    uint64_t wait_notice; /* a person is told what a step waits for; doubles */
};

#endif
