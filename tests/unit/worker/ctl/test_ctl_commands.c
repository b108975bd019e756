/* The table of the commands of dp-ctl: usage, and calls that are refused before a server is asked. */
#include <criterion/criterion.h>

#include <string.h>

#include "worker/ctl/commands.h"

static const char USAGE[] =
    "  dp-ctl [options] status                 job, progress, workers and shards\n"
    "  dp-ctl [options] set lr VALUE           changes the learning rate while the job runs\n"
    "  dp-ctl [options] set consistency MODE   likewise when slots commit: bsp, ssp:S or async\n"
    "  dp-ctl [options] export FILE            writes the model of the running job as safetensors\n"
    "  dp-ctl [options] checkpoint             has a checkpoint made, and waits until it is on the server's disk";

Test(ctl_commands, usage_has_a_line_for_each_use)
{
    char buf[CTL_USAGE_BYTES];
    cr_assert_str_eq(ctl_usage(buf), USAGE);
}

/* Nothing listens there: a call that gets as far as the server ends with DP_UNREACHABLE. */
static void assert_ends(bool on_server, const char *const *words, dp_err code, const char *text)
{
    struct ctl_connection connection = {.server = "tcp://127.0.0.1:1", .timeout_ms = 5000};
    struct ctl_call call = {.connection = &connection, .on_server = on_server};
    size_t count = 0;
    dp_error err = {0};
    while (words[count])
        count++;
    cr_assert_eq(ctl_run(&call, (char *const *)words, count, &err), code, "%s", err.text);
    cr_assert_eq(strncmp(err.text, text, strlen(text)), 0, "%s", err.text);
    ctl_connection_close(&connection);
}
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

Test(ctl_commands, a_call_needs_a_command_of_the_table)
{
    assert_ends(false, WORDS(NULL), DP_USAGE, "which command? There are: status, set, export, checkpoint");
    assert_ends(false, WORDS("stats"), DP_USAGE, "unknown command 'stats'; there are: status, set, export, checkpoint");
}

Test(ctl_commands, words_that_a_command_does_not_take_are_named)
{
    assert_ends(false, WORDS("status", "now"), DP_USAGE, "'now' does not belong to status");
    assert_ends(false, WORDS("export", "a.st", "b.st"), DP_USAGE, "'b.st' does not belong to export");
    assert_ends(false, WORDS("checkpoint", "now"), DP_USAGE, "'now' does not belong to checkpoint");
    assert_ends(false, WORDS("export"), DP_USAGE, "export where to? dp-ctl export FILE");
    assert_ends(false, WORDS("set", "lr"), DP_USAGE, "set what? dp-ctl set lr VALUE, dp-ctl set consistency MODE");
    assert_ends(false, WORDS("set", "lr", "fast"), DP_USAGE, "set lr: 'fast' is not a number");
    assert_ends(false, WORDS("set", "lr", "1e400"), DP_USAGE, "set lr: 1e400 is too large");
}

Test(ctl_commands, on_server_belongs_to_export)
{
    assert_ends(true, WORDS("status"), DP_USAGE, "option --on-server belongs to export, not to status");
    assert_ends(true, WORDS("set", "lr", "1"), DP_USAGE, "option --on-server belongs to export, not to set");
    assert_ends(true, WORDS("stats"), DP_USAGE, "option --on-server belongs to export, not to stats");
    assert_ends(true, WORDS("export", "a.st"), DP_UNREACHABLE, "cannot reach tcp://127.0.0.1:1: ");
}

Test(ctl_commands, a_call_that_is_right_asks_the_server)
{
    assert_ends(false, WORDS("status"), DP_UNREACHABLE, "cannot reach tcp://127.0.0.1:1: ");
    assert_ends(false, WORDS("checkpoint"), DP_UNREACHABLE, "cannot reach tcp://127.0.0.1:1: ");
    assert_ends(false, WORDS("set", "lr", "0.5"), DP_UNREACHABLE, "cannot reach tcp://127.0.0.1:1: ");
    assert_ends(false, WORDS("set", "consistency", "bsp"), DP_UNREACHABLE, "cannot reach tcp://127.0.0.1:1: ");
}
