/* dp-ctl checkpoint: has a checkpoint made of the running job, and waits until it is whole. Thread: main. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "worker/ctl/command.h"

enum { WHOLE_MS = 660 * 1000 /* a server that gives up says so before */ };

static void print_json(const Dp__Checkpointed *made)
{
    json_t *line = json_pack("{s:s, s:I, s:I}", "checkpoint", made->path, "step", (json_int_t)made->step, "train_step",
                             (json_int_t)made->train_step);
    if (line)
        json_dumpf(line, stdout, JSON_COMPACT);
    fputc('\n', stdout);
    json_decref(line);
}

static dp_err run(const struct ctl_call *call, dp_error *err)
{
    Dp__Checkpoint body = DP__CHECKPOINT__INIT;
    Dp__Header question = DP__HEADER__INIT;
    const Dp__Header *answer;
    dp_err e = ctl_connection_open(call->connection, err); /* a server that is not there is found out soon */
    if (e)
        return e;
    if (!call->timeout_given)
        call->connection->timeout_ms = WHOLE_MS;
    question.body_case = DP__HEADER__BODY_CHECKPOINT;
    question.checkpoint = &body;
    e = ctl_ask(call->connection, &question, DP__HEADER__BODY_CHECKPOINTED, NULL, &answer, err);
    if (!e && call->json)
        print_json(answer->checkpointed);
    else if (!e)
        printf("checkpoint of step %" PRIu64 " in %s\n", answer->checkpointed->train_step, answer->checkpointed->path);
    return e;
}

const struct ctl_command ctl_checkpoint = {
    .name = "checkpoint",
    .uses = {{"checkpoint", "has a checkpoint made, and waits until it is on the server's disk"}},
    .words_max = 0,
    .run = run,
};
