/* The commands of dp-ctl: usage, names and a call's way to its command come from one table. Thread: main. */
#ifndef DP_WORKER_CTL_COMMANDS_H
#define DP_WORKER_CTL_COMMANDS_H

#include "worker/ctl/command.h"

enum { CTL_USAGE_BYTES = 4096 };

/* The lines of --help, at buf[CTL_USAGE_BYTES]; returns buf. */
const char *ctl_usage(char *buf);
/* Runs the command called words[0] with the words behind it, of which there are `count` in all; the rest of `call` is
 * filled. DP_USAGE for a command that is not there or does not take what was given, DP_IO where its result cannot be
 * printed, or what the command says. */
DP_MUST_CHECK dp_err ctl_run(struct ctl_call *call, char *const *words, size_t count, dp_error *err);

#endif
