/* The commands of dp-ctl. A new one is a file like command_set.c and a row here. Thread: main. */
#include "worker/ctl/commands.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/text.h"
#include "common/base/util.h"

static const struct ctl_command *const COMMANDS[] = {&ctl_status, &ctl_set, &ctl_export, &ctl_checkpoint};

/* Between the words of the longest use and the texts. */
enum { GAP_COLUMNS = 3 };

static int uses_count(const struct ctl_command *command)
{
    int count = 0;
    while (count < CTL_USES_MAX && command->uses[count].words)
        count++;
    return count;
}

const char *ctl_usage(char *buf)
{
    size_t at = 0, columns = 0;
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
        for (int use = 0; use < uses_count(COMMANDS[i]); use++)
            columns = MAX(columns, strlen(COMMANDS[i]->uses[use].words) + GAP_COLUMNS);
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
        for (int use = 0; use < uses_count(COMMANDS[i]); use++)
            str_append(buf, CTL_USAGE_BYTES, &at, "%s  dp-ctl [options] %-*s%s", at ? "\n" : "", (int)columns,
                       COMMANDS[i]->uses[use].words, COMMANDS[i]->uses[use].text);
    return buf;
}

static const char *names(char *buf, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
        str_append(buf, size, &at, "%s%s", at ? ", " : "", COMMANDS[i]->name);
    return buf;
}

/* NULL: there is none. */
static const struct ctl_command *find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
        if (strcmp(COMMANDS[i]->name, name) == 0)
            return COMMANDS[i];
    return NULL;
}

static const char *name_on_server(void)
{
    for (size_t i = 0; i < ARRAY_LEN(COMMANDS); i++)
        if (COMMANDS[i]->on_server)
            return COMMANDS[i]->name;
    return "no command";
}

dp_err ctl_run(struct ctl_call *call, char *const *words, size_t count, dp_error *err)
{
    char list[CTL_USAGE_BYTES];
    if (count == 0)
        return dp_fail(err, DP_USAGE, "which command? There are: %s", names(list, sizeof list));
    const struct ctl_command *command = find(words[0]);
    if (call->on_server && !(command && command->on_server))
        return dp_fail(err, DP_USAGE, "option --on-server belongs to %s, not to %.64s", name_on_server(), words[0]);
    if (!command)
        return dp_fail(err, DP_USAGE, "unknown command '%.64s'; there are: %s", words[0], names(list, sizeof list));
    if (count - 1 > command->words_max)
        return dp_fail(err, DP_USAGE, "'%.64s' does not belong to %s", words[1 + command->words_max], command->name);
    for (size_t i = 1; i < count; i++)
        call->words[i - 1] = words[i];
    dp_err e = command->run(call, err);
    if (!e && (fflush(stdout) || ferror(stdout)))
        return dp_fail(err, DP_IO, "cannot write to stdout: %s", strerror(errno));
    return e;
}
