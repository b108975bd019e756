/* What the parts of the exchange bench share. A case is one row of its table: so many workers push N floats to so many
 * shards and pull as many, step after step. Times are seconds of one step; negative: the run failed, and said why.
 * Thread: main. */
#ifndef DP_BENCH_EXCHANGE_H
#define DP_BENCH_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXCHANGE_WORKERS_MAX = 64, EXCHANGE_SHARDS_MAX = 16 };

struct exchange {
    const char *transport; /* "tcp", "ipc", "shm" */
    uint64_t elems;
    uint32_t workers;
    uint32_t shards;
    uint32_t skip;      /* steps before the measured ones */
    uint32_t steps;     /* measured */
    size_t slice_bytes; /* of the bare exchange */
};

/* Processes that take part, each with a pipe to its standard output and all behind one gate: they begin when it opens.
 */
struct crew {
    int gate[2]; /* children read end of file from gate[0] when it opens */
    uint32_t count;
    long pids[EXCHANGE_WORKERS_MAX];
    int outs[EXCHANGE_WORKERS_MAX];
};
bool crew_init(struct crew *crew);
/* Forks. In the child returns 0 with standard input and output set up; in the parent 1; -1 where that fails. */
int crew_fork(struct crew *crew);
/* Waits for a byte of each, then lets all begin. False where one ended instead. */
bool crew_start(struct crew *crew);
/* The longest time that any of them reports; waits for their end. */
double crew_result(struct crew *crew);
/* In a child: says that it is ready, and waits for the gate. */
bool crew_ready(void);
/* In a child: reports. */
void crew_report(double seconds);

/* exchange_bare.c: the same bytes by ZeroMQ alone, in slices, with a plain loop as the update. */
double bare_run(const struct exchange *exchange);
/* exchange_dp.c: by dp-server and bench_exchange_worker, which stand in the folders given. */
double dp_run(const struct exchange *exchange, const char *server_path, const char *worker_path);
/* A server of such a job, with as many slots as there are workers. */
struct served {
    char folder[64];
    char port_file[96];
    int watch;
    long server;
    char endpoint[256];
};
/* False where it does not start; to be ended all the same. */
bool served_start(struct served *served, const struct exchange *exchange, const char *server_path);
void served_end(struct served *served);
/* exchange_memory.c: bytes per second of a triad (24 MB arrays or larger, no write-allocate counted), one thread. */
double memory_rate(void);

double seconds_now(void);

#endif
