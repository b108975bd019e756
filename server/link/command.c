/* Commands; see command.h. Thread: any. */
#include "server/link/command.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/terms/constraint_text.h"

struct command_start *command_start_new(const struct shard_job *job, uint32_t slice_count, uint32_t part_count)
{
    size_t slices = slice_count * sizeof(struct range), parts = part_count * sizeof(struct part_range);
    struct command_start *start = mem_array(1, sizeof *start + slices + parts);
    if (!start)
        return NULL;
    *start = (struct command_start){.job = *job, .slice_count = slice_count, .part_count = part_count};
    start->job.live = NULL;
    start->job.planes = NULL;
    start->slices = (struct range *)start->room;
    start->parts = (struct part_range *)(start->slices + slice_count);
    return start;
}

void command_start_free(struct command_start **start)
{
    if (*start && (*start)->owns_constraints)
        constraints_fini(&(*start)->job.constraints);
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
