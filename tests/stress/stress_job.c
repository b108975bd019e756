/* Whole jobs in one process, of a dense tensor and of a table: the head and three shards, workers with two threads each
 * that come and go and share memory. Whatever race there is between head, shards, clients and their heartbeats,
 * ThreadSanitizer sees it here. */
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/kernels/kernels.h"
#include "common/kernels/numerics.h"
#include "server/head/head.h"
#include "tests/stress/stress.h"
#include "worker/run/train.h"

enum { ROWS = 400, FEATURES = 300, WORKERS = 3, DEADLINE_MS = 60000 };

/* libzmq is not built with TSan, which therefore cannot see how it passes memory between threads. */
__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libzmq.so\nrace:libzmq.so\nmutex:libzmq.so\n";
}

static char folder[64], data_path[96], port_path[96], model_path[96];

static void write_data(void)
{
    FILE *f = fopen(data_path, "w");
    uint32_t x = 12345;
    MUST(f, "cannot write %s", data_path);
    for (int i = 0; i < ROWS; i++) {
        fprintf(f, "%s", i % 2 ? "+1" : "-1");
        for (int j = 1 + i % 7; j <= FEATURES; j += 1 + (int)((x = x * 1664525u + 1013904223u) >> 28))
            fprintf(f, " %d:%.3f", j, (double)(x >> 16) / 65536.0);
        fprintf(f, "\n");
    }
    fclose(f);
}

static bool sparse;

static void *serve(void *arg)
{
    struct server_options opts = {
        .model = "logistic",
        .sparse = sparse,
        .intercept = true,
        .batch = 50,
        .slots = 8,
        .epochs = 150,
        .seed = 1,
        .setup = {.params = {.schedule = {.lr = 0.05, .period = 1, .period_mult = 1, .every = 1}, .momentum = 0.9}},
        .listen = "tcp://127.0.0.1:0",
        .port_file = port_path,
        .shards = 3,
        .exit_when_done = true,
        .export_path = model_path,
        .lease_s = 10,
        .stall_timeout_s = 30,
        .quiet = true,
    };
    opts.setup.rule = &rule_momentum;
    *(int *)arg = head_run(&opts);
    return NULL;
}

/* The endpoint, once the server has written it. */
static void wait_endpoint(char *endpoint, size_t size)
{
    for (int waited = 0; waited < DEADLINE_MS; waited += 10) {
        FILE *f = fopen(port_path, "r");
        if (f) {
            char *line = fgets(endpoint, (int)size, f);
            fclose(f);
            if (line && strchr(line, '\n')) {
                *strchr(line, '\n') = '\0';
                return;
            }
        }
        poll(NULL, 0, 10);
    }
    MUST(0, "no endpoint within %d ms", DEADLINE_MS);
}

struct worker {
    const char *endpoint;
    volatile int stop;
    dp_err result;
    dp_error err;
    pthread_t thread;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    struct train_options opts = {
        .server = w->endpoint,
        .connect_timeout_s = 30,
        .server_timeout_s = 30,
        .data = {.data = data_path, .threads = 2},
        .quiet = true,
        .stop = &w->stop,
    };
    w->result = train_run(&opts, &w->err);
    return NULL;
}

static void start(struct worker *w, const char *endpoint)
{
    *w = (struct worker){.endpoint = endpoint};
    MUST(pthread_create(&w->thread, NULL, work, w) == 0, "no thread");
}

static void run_job(void)
{
    char endpoint[128];
    int status = -1;
    pthread_t server;
    struct worker workers[WORKERS], joiner;
    MUST(pthread_create(&server, NULL, serve, &status) == 0, "no thread");
    wait_endpoint(endpoint, sizeof endpoint);
    for (int i = 0; i < WORKERS; i++)
        start(&workers[i], endpoint);
    poll(NULL, 0, 100);
    __atomic_store_n(&workers[0].stop, 1, __ATOMIC_RELAXED); /* leaves in the middle; another comes */
    start(&joiner, endpoint);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(workers[i].thread, NULL);
    pthread_join(joiner.thread, NULL);
    pthread_join(server, NULL);
    for (int i = 1; i < WORKERS; i++)
        MUST(workers[i].result == DP_OK, "worker %d: %s", i, workers[i].err.text);
    MUST(status == 0, "the server ended with %d", status);
    MUST(access(model_path, R_OK) == 0, "no model");
    unlink(port_path);
    unlink(model_path);
}

int main(void)
{
    dp_error err;
    snprintf(folder, sizeof folder, "/tmp/dp-stress-XXXXXX");
    MUST(mkdtemp(folder), "no folder");
    snprintf(data_path, sizeof data_path, "%s/data", folder);
    snprintf(port_path, sizeof port_path, "%s/port", folder);
    snprintf(model_path, sizeof model_path, "%s/model", folder);
    write_data();
    log_init("stress", LOG_ERROR);
    blas_init();
    MUST(kernels_select("auto", &err) == DP_OK, "%s", err.text);
    numerics_fingerprint();
    for (int tables = 0; tables < 2; tables++) {
        sparse = tables;
        run_job();
    }
    unlink(data_path);
    rmdir(folder);
    PASS("job");
}
