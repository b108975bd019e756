/* Versions that outlive their slices; see grave.h. Thread: shard. */
#include "server/shard/grave.h"

#include <stdlib.h>

struct grave {
    struct grave *next;
    struct planes planes;
    uint32_t count;
    struct versions list[]; /* [count] */
};

/* The slice gives its own references back. */
static struct versions take(struct slice *slice)
{
    struct versions taken = slice->versions;
    for (uint32_t i = 0; i < SLICE_VERSIONS; i++)
        if (slice->at[i])
            version_release(slice->at[i]);
    slice->versions = (struct versions){0};
    return taken;
}

dp_err grave_dig(struct shard *shard, struct grave **list)
{
    struct grave *grave = mem_array_zero(1, sizeof *grave + shard->slice_count * sizeof grave->list[0]);
    if (!grave)
        return DP_NOMEM;
    for (uint32_t i = 0; i < shard->slice_count; i++)
        grave->list[i] = take(&shard->slices[i]);
    grave->count = shard->slice_count;
    grave->planes = shard->planes;
    shard->planes = (struct planes){0};
    grave->next = *list;
    *list = grave;
    return DP_OK;
}

static bool is_quiet(const struct grave *grave)
{
    for (uint32_t i = 0; i < grave->count; i++)
        if (!versions_are_free(&grave->list[i]))
            return false;
    return true;
}

static void grave_free(struct grave *grave)
{
    for (uint32_t i = 0; i < grave->count; i++)
        versions_fini(&grave->list[i]);
    planes_fini(&grave->planes);
    free(grave);
}

static void clear(struct grave **list, bool all)
{
    for (struct grave **at = list; *at;) {
        struct grave *grave = *at;
        if (!all && !is_quiet(grave)) {
            at = &grave->next;
            continue;
        }
        *at = grave->next;
        grave_free(grave);
    }
}

void graves_sweep(struct grave **list)
{
    clear(list, false);
}

void graves_free(struct grave **list)
{
    clear(list, true);
}
