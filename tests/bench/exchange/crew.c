/* The processes of an exchange; see server/step/block_sums.h. Thread: main. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "tests/bench/exchange/bench.h"

double seconds_now(void)
{
    return (double)mono_ns() * 1e-9;
}

bool crew_init(struct crew *crew)
{
    *crew = (struct crew){0};
    return pipe2(crew->gate, O_CLOEXEC) == 0;
}

int crew_fork(struct crew *crew)
{
    int out[2];
    if (crew->count == EXCHANGE_WORKERS_MAX || pipe2(out, O_CLOEXEC))
        return -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody is left behind */
        dup2(crew->gate[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        close(crew->gate[0]);
        close(crew->gate[1]);
        close(out[0]);
        close(out[1]);
        for (uint32_t i = 0; i < crew->count; i++)
            close(crew->outs[i]);
        return 0;
    }
    close(out[1]);
    if (pid < 0) {
        close(out[0]);
        return -1;
    }
    crew->pids[crew->count] = pid;
    crew->outs[crew->count++] = out[0];
    return 1;
}

bool crew_start(struct crew *crew)
{
    bool good = true;
    for (uint32_t i = 0; i < crew->count; i++) {
        char byte;
        good = read(crew->outs[i], &byte, 1) == 1 && good;
    }
    close(crew->gate[0]);
    close(crew->gate[1]);
    return good;
}

double crew_result(struct crew *crew)
{
    double longest = 0;
    for (uint32_t i = 0; i < crew->count; i++) {
        double seconds = -1;
        ssize_t n = read(crew->outs[i], &seconds, sizeof seconds);
        int status = 1;
        close(crew->outs[i]);
        if (waitpid((pid_t)crew->pids[i], &status, 0) < 0 || status != 0 || n != sizeof seconds)
            longest = -1;
        else if (longest >= 0)
            longest = MAX(longest, seconds);
    }
    return longest;
}

bool crew_ready(void)
{
    char byte = 'r';
    return write(STDOUT_FILENO, &byte, 1) == 1 && read(STDIN_FILENO, &byte, 1) == 0;
}

void crew_report(double seconds)
{
    if (write(STDOUT_FILENO, &seconds, sizeof seconds) != sizeof seconds)
        exit(EXIT_FAILURE);
}
