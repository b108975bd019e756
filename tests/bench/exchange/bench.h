/* Types and calls that the parts of the exchange bench share. In a case, W workers push F floats to S shards and pull
 * as many, step after step: of one dense tensor, or of rows of a table. Times are seconds of one step; negative: the
 * run failed, and said why. Thread: main. */
#ifndef DP_TESTS_BENCH_EXCHANGE_BENCH_H
#define DP_TESTS_BENCH_EXCHANGE_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXCHANGE_WORKERS_MAX = 64, EXCHANGE_SHARDS_MAX = 16, EXCHANGE_DIM_MAX = 4096 };

enum transport { TRANSPORT_TCP, TRANSPORT_IPC, TRANSPORT_SHM, TRANSPORTS };
static const char *const TRANSPORT_NAMES[TRANSPORTS] = {"tcp", "ipc", "shm"};

/* Tables: each slot touches EXCHANGE_ROWS random rows of EXCHANGE_TABLE_ROWS, the same ones in every step. */
enum { EXCHANGE_ROWS = 100000, EXCHANGE_TABLE_ROWS = 1000000 };

struct exchange {
    enum transport transport;
    uint64_t elems; /* floats that a worker pushes a step, and pulls */
    uint32_t dim;   /* of a row; 0: a dense tensor */
    uint32_t workers;
    uint32_t shards;
    uint32_t skip;              /* steps before the measured ones */
    uint32_t steps;             /* measured */
    size_t slice_bytes;         /* of the bare exchange */
    const char *const *options; /* of dp-server beside those of all, NULL behind the last; NULL: sgd's */
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

/* bare.c: the same bytes by ZeroMQ alone, in slices, with a plain loop as the update. Not for shm. */
double bare_run(const struct exchange *exchange);
/* dp.c: by dp-server and bench_exchange_worker. */

/* The programs of the same build as argv[0]. */
struct places {
    char server[4096], worker[4096];
};
void places_find(const char *self, struct places *ret_places);
double dp_run(const struct exchange *exchange, const struct places *places);
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
/* Its workers, which begin once all of them are there. False where one could not. */
bool workers_start(struct crew *crew, const struct served *served, const struct exchange *exchange,
                   const struct places *places);
/* clients.c: seconds of a step of `exchange->workers` connections that few processes drive, each with
 * messages of `exchange->elems` floats: to a dp-server, or to a bare ROUTER that echoes them. */
enum { EXCHANGE_CLIENTS_MAX = 1024 };
double clients_dp(const struct exchange *exchange, const char *server_path);
double clients_bare(const struct exchange *exchange);
/* memory.c: bytes per second of a triad (24 MB arrays or larger, no write-allocate counted), one thread. */
double memory_rate(void);

double seconds_now(void);

/* table.c: what was measured, beside what was asked for. */

/* The best of some runs; negative: none. */
struct best {
    double seconds, cpu_seconds;
};
/* One case over a transport. */
struct measured {
    struct exchange x;
    struct best dp, bare;
    double tcp_seconds; /* dp's by tcp; negative: not measured */
    double memory_rate;
};
struct table {
    uint32_t asked, missed, failed;
};
void table_dense_head(void);
void table_dense_row(struct table *table, const struct measured *measured);
void table_rows_head(void);
void table_rows_row(struct table *table, const struct measured *measured);
void table_clients(struct table *table, const struct measured *measured);
/* Number of bounds that were missed. */
void table_end(const struct table *table);

#endif
