/* Cleaning up after a test that could not do it itself: one that crashed or ran out of time.
 *
 * The warden is a process of its own that hears of every process group over a pipe. The pipe's end without a farewell
 * means that the test is gone: then it kills the groups and removes the folder. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/util.h"
#include "tests/integration/support/harness.h"
#include "tests/integration/support/harness_impl.h"

static int to_warden = -1;
static pid_t warden;

__attribute__((noreturn)) static void warden_run(int from_test)
{
    pid_t groups[HARNESS_PROCESSES_MAX], pid;
    size_t count = 0;
    setsid();
    dup2(from_test, 0);
    close_range(1, ~0U, 0); /* hold nothing open that Criterion waits for */
    while (read(0, &pid, sizeof pid) == (ssize_t)sizeof pid) {
        if (pid == 0)
            _exit(0);
        if (count < ARRAY_LEN(groups))
            groups[count++] = pid;
    }
    while (count > 0)
        kill(-groups[--count], SIGKILL);
    folder_remove();
    _exit(0);
}

void warden_start(void)
{
    int fds[2];
    cr_assert_eq(pipe2(fds, O_CLOEXEC), 0);
    warden = fork();
    cr_assert_geq(warden, 0);
    if (warden == 0)
        warden_run((close(fds[1]), fds[0]));
    close(fds[0]);
    to_warden = fds[1];
}

void warden_tell(pid_t group)
{
    cr_assert_eq(write(to_warden, &group, sizeof group), sizeof group);
}

void warden_dismiss(void)
{
    warden_tell(0);
    close(to_warden);
    while (waitpid(warden, NULL, 0) < 0 && errno == EINTR)
        ;
}
