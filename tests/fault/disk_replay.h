/* Every state that a machine's disk may be in after a crash at any call of a log, as far as their number allows, is
 * made as a folder and read as a server that is started again reads it: each checkpoint with a name must be whole, and
 * none that was on the disk may be gone. Thread: the caller's. */
#ifndef DP_TESTS_FAULT_DISK_REPLAY_H
#define DP_TESTS_FAULT_DISK_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct disk_log;

struct disk_replay {
    const struct disk_log *log;
    const char *folder; /* states are made in it, and removed */
    bool thorough;      /* all subsets of up to 10 lost events, instead of 6; more random ones of more */
    uint64_t seed;
    /* A server is started on some of the states, chosen by chance. */
    size_t runs;
    bool (*run)(void *arg, const char *checkpoints); /* false: it says why */
    void *arg;
    /* The results. */
    size_t states, tried; /* different ones; with those that were seen before */
    size_t ran;
    char why[400];
};

/* False: `why` says so, or `run` did. */
bool disk_replay(struct disk_replay *replay);

#endif
