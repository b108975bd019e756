/* A job as its user starts it: a server and workers with command lines of their own, which are killed and started
 * again, the same ones each time. All are children of this process and end with it. Every wait has a deadline.
 * Thread: the caller's. */
#ifndef DP_TESTS_FAULT_FLEET_H
#define DP_TESTS_FAULT_FLEET_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum {
    FLEET_WORKERS = 2,
    FLEET_MEMBERS = 1 + FLEET_WORKERS, /* the server is member 0 */
    FLEET_ARGS_MAX = 64,
    FLEET_PATH_MAX = PATH_MAX,
    FLEET_RUNS = -1, /* the status of a process that has not ended */
};

struct fleet {
    const char *build;      /* folder of the build whose programs run */
    const char *folder;     /* of logs: server.log, server.out, worker0.log, ...; each start adds to them */
    const char *const *env; /* NAME=value for the server, NULL at the end; NULL: none */
    const char *args[FLEET_MEMBERS][FLEET_ARGS_MAX]; /* NULL at the end of each */
    pid_t pids[FLEET_MEMBERS];                       /* 0: not running */
    uint64_t kills;
};

/* A fresh folder under $TMPDIR, "" where none can be made. */
void fleet_folder_new(const char *name, char path[FLEET_PATH_MAX]);
void fleet_folder_remove(const char *path);
/* FOLDER/NAME; cut where it is too long. */
void fleet_path(const char *folder, const char *name, char path[FLEET_PATH_MAX]);
/* An endpoint of this process alone that stays free while nobody has it: addresses of 127/8 are its own number. */
void fleet_endpoint(unsigned number, char endpoint[64]);

/* Adds arguments, NULL at the end, to those of a member. */
void fleet_add(struct fleet *fleet, size_t member, const char *const *args);
#define FLEET_ADD(fleet, member, ...) fleet_add(fleet, member, (const char *const[]){__VA_ARGS__, NULL})

void fleet_start(struct fleet *fleet, size_t member);
/* Its exit status, 128 + n by a signal, or FLEET_RUNS. An end can be asked for once only. */
int fleet_poll(struct fleet *fleet, size_t member);
int fleet_wait(struct fleet *fleet, size_t member, uint64_t timeout_ms);
/* kill -9; waits for its end, and counts. */
void fleet_kill(struct fleet *fleet, size_t member);
/* Kills what is left, without counting. */
void fleet_end(struct fleet *fleet);
/* Prints how its logs end, as comments of TAP. */
void fleet_tell_logs(const struct fleet *fleet);

/* Sleeps. Moments of kills are random; nothing waits for an event by this. */
void pause_ms(uint64_t ms);
/* A random number below `below`, >= 1; splitmix64. */
uint64_t random_below(uint64_t *state, uint64_t below);
/* Whether both files are there and have the same bytes. */
bool files_same(const char *path, const char *other);

#endif
