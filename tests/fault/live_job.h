/* A live job that others attack: a server, two workers that compute slowly, and a quiet run of the same steps to
 * compare the parameters with. All processes are the job's own children and end with it. Every wait has a deadline.
 * Thread: the caller's. */
#ifndef DP_TESTS_FAULT_LIVE_JOB_H
#define DP_TESTS_FAULT_LIVE_JOB_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { JOB_WORKERS = 2, JOB_SHARDS_MAX = 2, JOB_ENDPOINT_MAX = 128, JOB_WHY_MAX = 400, JOB_ARGS_MAX = 48 };

/* A sanitizer keeps what was freed for a while. */
#if defined(__SANITIZE_ADDRESS__)
#define RSS_SCALE 6
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define RSS_SCALE 6
#endif
#endif
#ifndef RSS_SCALE
#define RSS_SCALE 1
#endif

/* Why something is not as it must be: one line. */
struct why {
    char text[JOB_WHY_MAX];
};
/* Fills it; returns false. */
bool why_not(struct why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct job_config {
    const char *build;   /* folder of the build whose programs run */
    const char *data;    /* training data */
    const char *slot_ms; /* --emulate-slot-ms of its workers */
    uint32_t shards;     /* 1: head and shard share a port; 2: each has its own */
};

struct job {
    const struct job_config *config;
    char folder[PATH_MAX - 64]; /* of its files; removed at the end */
    pid_t server, workers[JOB_WORKERS];
    char endpoint[JOB_ENDPOINT_MAX];
    char shards[JOB_SHARDS_MAX][JOB_ENDPOINT_MAX];
    uint64_t quiet_rss, quiet_files; /* of the server before any attack: bytes, descriptors */
    bool liar_was_dealt; /* an attacker may have been dealt what it pushed: its values are in the parameters */
};

/* The job's status. */
struct job_state {
    uint64_t step;
    uint32_t workers;       /* members of any kind */
    bool good[JOB_WORKERS]; /* its workers are members that train */
    uint64_t took_ms;
};

/* Starts it and waits until its workers train. */
bool job_start(struct job *job, const struct job_config *config, struct why *why);
/* Asks as a stranger would. */
bool job_status(const struct job *job, struct job_state *ret_state, struct why *why);
/* Whether server and workers live, the status is answered, steps go on, and memory and descriptors of the server are
 * what they were but for a little. Waits some seconds for each. */
bool job_is_well(struct job *job, struct why *why);
/* Ends the server by SIGTERM and runs its steps again in quiet: the same bits? */
bool job_ends_well(struct job *job, struct why *why);
/* Prints how its logs end, as comments of TAP. */
void job_tell_logs(const struct job *job);
/* Kills what is left, removes the folder. Accepts one that failed to start. */
void job_end(struct job *job);

/* Figures of a process, 0 if it is gone: resident bytes, open descriptors, processor time in ms. */
uint64_t process_rss(pid_t pid);
uint64_t process_files(pid_t pid);
uint64_t process_cpu_ms(pid_t pid);

#endif
