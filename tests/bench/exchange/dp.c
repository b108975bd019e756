/* An exchange by the programs themselves. Thread: main. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "tests/bench/exchange/bench.h"

enum { START_MS = 20000 };

void places_find(const char *self, struct places *ret_places)
{
    const char *slash = strrchr(self, '/');
    int n = slash ? (int)(slash - self) + 1 : 0;
    snprintf(ret_places->worker, sizeof ret_places->worker, "%.*sbench_exchange_worker", n, self);
    snprintf(ret_places->server, sizeof ret_places->server, "%.*s../../server/dp-server", n, self);
}

static bool served_init(struct served *job)
{
    *job = (struct served){.watch = inotify_init1(IN_CLOEXEC)};
    (void)str_copy(job->folder, sizeof job->folder, "/tmp/dp-exchange-XXXXXX");
    if (job->watch < 0 || !mkdtemp(job->folder))
        return false;
    snprintf(job->port_file, sizeof job->port_file, "%s/port", job->folder);
    return inotify_add_watch(job->watch, job->folder, IN_MOVED_TO) >= 0;
}

void served_end(struct served *job)
{
    if (job->server > 0) {
        kill((pid_t)job->server, SIGTERM);
        waitpid((pid_t)job->server, NULL, 0);
    }
    close(job->watch);
    unlink(job->port_file);
    rmdir(job->folder);
}

static const char *shares(const struct exchange *x)
{
    return x->transport == TRANSPORT_SHM ? "on" : "off";
}

enum { ARGS_MAX = 64 };

static void server_exec(const struct served *job, const struct exchange *x, const char *path)
{
    static const char *const RULE[] = {"--optimizer", "sgd", "--lr", "0.1", NULL};
    const char *args[ARGS_MAX];
    size_t count = 0;
    char shards[24], workers[24], steps[24], listen[128];
    snprintf(shards, sizeof shards, "%u", x->shards);
    snprintf(workers, sizeof workers, "%u", x->workers);
    snprintf(steps, sizeof steps, "%u", x->skip + x->steps);
    if (x->transport == TRANSPORT_IPC)
        snprintf(listen, sizeof listen, "ipc://%s/head", job->folder);
    else
        snprintf(listen, sizeof listen, "tcp://127.0.0.1:0");
    const char *const given[] = {
        path,           "--model",   "linear",
        "--listen",     listen,      "--port-file",
        job->port_file, "--shards",  shards,
        "--slots",      workers,     "--min-workers",
        workers,        "--balance", "off",
        "--batch",      workers,     "--steps",
        steps,          "--shm",     shares(x),
        "--lease",      "3600",      "--quiet",
        "--log-level",  "error",     "--exit-when-done",
    };
    for (size_t i = 0; i < ARRAY_LEN(given); i++)
        args[count++] = given[i];
    for (const char *const *more = x->options ? x->options : RULE; *more && count + 1 < ARGS_MAX; more++)
        args[count++] = *more;
    args[count] = NULL;
    execv(path, (char *const *)args);
    perror(path);
    _exit(127);
}

/* Waits until the server has written its endpoint. */
static bool endpoint_wait(struct served *job)
{
    struct pollfd watch = {.fd = job->watch, .events = POLLIN};
    if (poll(&watch, 1, START_MS) != 1)
        return false;
    FILE *file = fopen(job->port_file, "r");
    bool good = file && fgets(job->endpoint, sizeof job->endpoint, file);
    if (file)
        fclose(file);
    job->endpoint[strcspn(job->endpoint, "\n")] = '\0';
    return good;
}

bool served_start(struct served *job, const struct exchange *x, const char *path)
{
    if (!served_init(job))
        return false;
    fflush(NULL);
    job->server = fork();
    if (job->server == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        server_exec(job, x, path);
    }
    return job->server > 0 && endpoint_wait(job);
}

bool workers_start(struct crew *crew, const struct served *job, const struct exchange *x, const struct places *places)
{
    char elems[24], dim[24], skip[24];
    snprintf(elems, sizeof elems, "%llu", (unsigned long long)x->elems);
    snprintf(dim, sizeof dim, "%u", x->dim);
    snprintf(skip, sizeof skip, "%u", x->skip);
    for (uint32_t i = 0; i < x->workers; i++) {
        int rc = crew_fork(crew);
        if (rc < 0)
            return false;
        if (rc == 0) {
            execl(places->worker, places->worker, job->endpoint, elems, dim, skip, shares(x), (char *)NULL);
            perror(places->worker);
            _exit(127);
        }
    }
    return crew_start(crew);
}

double dp_run(const struct exchange *x, const struct places *places)
{
    struct served job;
    struct crew crew;
    double seconds = -1;
    if (!crew_init(&crew)) {
        perror("bench_exchange");
        return -1;
    }
    if (served_start(&job, x, places->server) && workers_start(&crew, &job, x, places))
        seconds = crew_result(&crew);
    served_end(&job);
    return seconds;
}
