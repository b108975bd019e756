/* Sums over all shards, at the head: what global rules wait for between their passes, and the reports. Thread: head. */
#include <stdlib.h>
#include <string.h>

#include "head.h"

dp_err head_start_exchange(struct head *head)
{
    AUTOFREE struct range *ranges = mem_array(head->port_count, sizeof *ranges);
    if (!ranges)
        return DP_NOMEM;
    for (uint32_t p = 0; p < head->port_count; p++)
        ranges[p] = head->job.shards[p].range;
    return exchange_init(&head->exchange, &head->job.core.tensors, head->port_count, ranges);
}

static void fail(struct head *head, dp_err code, const char *text)
{
    dp_error err;
    (void)dp_fail(&err, code, "%s", text);
    head_fail(head, &err);
}

/* Each shard with parameters gets a copy of its own. */
static void send_totals(struct head *head, uint64_t step, uint32_t phase, uint32_t values, const double *totals)
{
    size_t count = (size_t)head->job.core.tensors.count * values;
    for (uint32_t p = 0; p < head->port_count; p++) {
        if (head->job.shards[p].slice_count == 0)
            continue;
        struct command command = {.kind = COMMAND_TOTALS, .step = step, .phase = phase};
        command.totals = mem_array(count, sizeof *command.totals);
        if (!command.totals) {
            fail(head, DP_NOMEM, "out of memory for the sums of a commit");
            return;
        }
        memcpy(command.totals, totals, count * sizeof *totals);
        if (!port_send(&head->ports[p], &command)) {
            free(command.totals);
            fail(head, DP_BUSY, "a shard has too much to do for the sums of a commit");
            return;
        }
    }
}

void head_on_sums(struct head *head, uint32_t shard, struct event *event)
{
    AUTOFREE double *totals = NULL;
    if (exchange_add(&head->exchange, shard, event->step, event->phase, event->values, event->sums, &totals)) {
        fail(head, DP_NOMEM, "out of memory for the sums of a commit");
        return;
    }
    if (totals && event->phase != EXCHANGE_REPORT)
        send_totals(head, event->step, event->phase, event->values, totals);
}
