/* Local workers: dp-worker processes that the server starts, restarts when they die, and ends. Thread: head. */
#ifndef DP_SERVER_HOST_SUPERVISE_H
#define DP_SERVER_HOST_SUPERVISE_H

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "server/options/options.h"

struct supervise_calls {
    /* The process is gone; it will be started again unless `gave_up`. */
    void (*died)(void *arg, const char *name, uint32_t pid);
    /* Workers cannot do the job: the last thing one said, and the exit status that fits. */
    void (*gave_up)(void *arg, const dp_error *err);
    /* All processes have ended after supervise_end. */
    void (*ended)(void *arg);
    void *arg;
};

/* The last death of a local worker that is given up. */
struct supervise_death {
    uint32_t number;
    dp_err code;      /* DP_USAGE, DP_DATA: its own exit status; DP_SYSTEM: it died too often */
    const char *how;  /* "exited with status 69" */
    bool again;       /* as those before it did */
    const char *said; /* its last line, "" if there is none */
};

/* Writes why it is given up, and returns its code. Wrong options and data explain themselves. Another death does not:
 * the text names the worker and its end as well. */
dp_err supervise_reason(const struct supervise_death *death, dp_error *err);

struct supervise;

/* Starts the processes: `server` is the head's endpoint. DP_SYSTEM where dp-worker cannot be found or started, naming
 * the places looked in. */
DP_MUST_CHECK dp_err supervise_start(uv_loop_t *loop, const struct server_options *opts, const char *server,
                                     const struct supervise_calls *calls, struct supervise **ret_supervise,
                                     dp_error *err);
/* Ends those that still run: SIGTERM, SIGKILL after two seconds; then calls ended() from the loop (at once if none
 * runs). `done`: they have been told that the job is done, and have a moment to end by themselves. Nothing is restarted
 * from now on. */
void supervise_end(struct supervise *supervise, bool done);
/* The job is done: workers that end now are not started again. */
void supervise_expect_end(struct supervise *supervise);
/* A signal has come, and the server ends once its last checkpoint is made. Workers whom the same signal has ended, as
 * Ctrl-C does, are no news; others are started in their place still, since the checkpoint may need a step. Accepts
 * NULL. */
void supervise_expect_signal(struct supervise *supervise);
/* Whether the process is one of these, not yet reaped. Accepts NULL. */
bool supervise_knows(const struct supervise *supervise, pid_t pid);
/* After ended() and once the loop has run out. Accepts NULL. */
void supervise_free(struct supervise **supervise);

#endif
