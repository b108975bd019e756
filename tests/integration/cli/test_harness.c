/* The harness itself, on programs that every system has. */
#include "tests/integration/support/harness.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

TestSuite(harness, .init = harness_init, .fini = harness_fini, .timeout = 60);

static struct process *shell(const char *script)
{
    return PROCESS("/bin/sh", "-c", script);
}

Test(harness, status_and_both_streams)
{
    struct run_result r = RUN(10000, "/bin/sh", "-c", "echo out; echo err >&2; exit 3");
    cr_assert_eq(r.status, 3);
    cr_assert_str_eq(r.out, "out\n");
    cr_assert_str_eq(r.err, "err\n");
}

Test(harness, much_output)
{
    struct run_result r = RUN(20000, "/bin/sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x; echo");
    cr_assert_eq(r.status, 0);
    cr_assert_eq(strlen(r.out), 3000001);
}

Test(harness, lines_one_after_another)
{
    struct process *p = shell("echo one 1 >&2; echo two >&2; echo one 2 >&2; read x; cat");
    cr_assert_str_eq(process_expect(p, ERR, "one", 10000), "one 1");
    cr_assert_str_eq(process_expect_next(p, ERR, "one", 10000), "one 2");
    cr_assert_str_eq(process_expect(p, ERR, "two", 10000), "two");
    cr_assert_eq(process_wait(p, 10000), 0, "stdin is empty");
}

Test(harness, signals)
{
    struct process *p = shell("trap 'echo got it; exit 7' TERM; echo ready; while :; do read x < /dev/zero; done");
    process_expect(p, OUT, "ready", 10000);
    process_signal(p, SIGSTOP);
    cr_assert_not(process_ended(p, 1));
    process_signal(p, SIGTERM);
    process_signal(p, SIGCONT);
    process_signal(p, SIGKILL);
    cr_assert_gt(process_wait(p, 10000), 0);
    process_signal(p, SIGTERM); /* of one that is gone: nothing */
}

Test(harness, environment)
{
    setenv("DP_SOMETHING", "1", 1);
    struct process *p = process_start_env("/bin/sh", (const char *const[]){"-c", "env | grep ^DP_ | sort", NULL},
                                          (const char *const[]){"DP_ELSE=2", NULL});
    cr_assert_eq(process_wait(p, 10000), 0);
    cr_assert_str_eq(process_output(p, OUT), "DP_ELSE=2\nDP_MIN_SHARD_KIB=0\n");
}

Test(harness, a_file_that_appears)
{
    const char *path = temp_path("late");
    char script[HARNESS_PATH_MAX + 64];
    snprintf(script, sizeof script, "printf 'half ' > '%s'; echo line >> '%s'", path, path);
    struct process *p = shell(script);
    cr_assert_str_eq(file_expect(path, p, 10000), "half line");
    cr_assert_null(file_expect(temp_path("never"), shell("exit 1"), 10000));
    cr_assert_null(file_expect(temp_path("never"), NULL, 1));
}

/* The same harness_fini cleans up behind a failing test. It returns once nobody holds the output any
 * more, so the child of the child is gone as well. */
Test(harness_end, leaves_nothing, .timeout = 60)
{
    harness_init();
    char *copy = strdup(temp_text("file", "x"));
    shell("sleep 1000 & sleep 1000");
    harness_fini();
    cr_assert_neq(access(copy, F_OK), 0);
    free(copy);
}
