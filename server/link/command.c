/* Commands; see command.h. Thread: any. */
#include "server/link/command.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/terms/constraint_text.h"

static dp_err take_rates(struct command_start *start, const struct schedule_past *past)
{
    if (!past || past->count == 0)
        return DP_OK;
    if (!schedule_past_add(&start->rates, past->list, (uint32_t)past->count))
        return DP_NOMEM;
    start->job.params.schedule.past = &start->rates;
    return DP_OK;
}

struct command_start *command_start_new(const struct shard_job *job, uint32_t slice_count, uint32_t part_count)
{
    size_t slices = slice_count * sizeof(struct range), parts = part_count * sizeof(struct part_range);
    struct command_start *start = mem_array(1, sizeof *start + slices + parts);
    if (!start)
        return NULL;
    *start = (struct command_start){.job = *job, .slice_count = slice_count, .part_count = part_count};
    start->job.params.schedule.past = NULL;
    if (take_rates(start, job->params.schedule.past)) {
        free(start);
        return NULL;
    }
    start->job.live = NULL;
    start->job.planes = NULL;
    start->job.from = NULL;
    start->slices = (struct range *)start->room;
    start->parts = (struct part_range *)(start->slices + slice_count);
    return start;
}

void command_start_free(struct command_start **start)
{
    if (*start && (*start)->owns_constraints)
        constraints_fini(&(*start)->job.constraints);
    if (*start)
        schedule_past_fini(&(*start)->rates);
    if (*start)
        free((*start)->init_from);
    free(*start);
    *start = NULL;
}

void command_fini(struct command *command)
{
    assert(command->kind < COMMAND_KINDS);
    switch (command->kind) {
    case COMMAND_START:
        command_start_free(&command->start);
        break;
    case COMMAND_OPEN:
        free(command->open.name);
        break;
    case COMMAND_GRANT:
        free(command->grant);
        break;
    case COMMAND_TOTALS:
        free(command->totals.totals);
        break;
    case COMMAND_ROSTER:
        free(command->roster.live);
        break;
    case COMMAND_DROP:
        free(command->drop.live);
        break;
    default:
        break;
    }
    *command = (struct command){.kind = COMMAND_RESET};
}
