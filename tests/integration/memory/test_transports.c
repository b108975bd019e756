/* Theta has the same bits, whatever carries the bytes: jobs over tcp, Unix sockets by path and by abstract name. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/integration/support/harness.h"

TestSuite(transports, .init = harness_init, .fini = harness_fini, .timeout = 300);

enum { MINUTE_MS = 60000 };

#define TRAIN "tests/data/digits/train.csv.gz"

#define JOB                                                                                                  \
    "--model", "softmax", "--batch", "100", "--slots", "8", "--epochs", "3", "--lr", "0.002", "--optimizer", \
        "momentum", "--seed", "7", "--exit-when-done", "--quiet"

/* Runs the job with two local workers on an endpoint; returns the model's path. */
static const char *train(const char *name, const char *listen, const char *shards)
{
    const char *path = temp_path(name);
    struct run_result r = RUN(MINUTE_MS, "dp-server", "--listen", listen, JOB, "--local-workers", "2", "--shards",
                              shards, "--data", source_file(TRAIN), "--export", path);
    cr_assert_eq(r.status, 0, "dp-server ended with %d: %s", r.status, r.err);
    return path;
}

Test(transports, unix_sockets_give_the_bits_of_tcp)
{
    NEED_PROGRAMS("dp-server", "dp-worker");
    char path[HARNESS_PATH_MAX + 8], name[64];
    const char *want = train("tcp.safetensors", "tcp://127.0.0.1:0", "2");
    snprintf(path, sizeof path, "ipc://%s", temp_path("socket"));
    snprintf(name, sizeof name, "ipc://@dp-test-%ld", (long)getpid());
    models_assert_same(want, train("path.safetensors", path, "1"));
    models_assert_same(want, train("name.safetensors", name, "3"));
    cr_assert_neq(access(temp_path("socket"), F_OK), 0, "the socket was left behind");
}
