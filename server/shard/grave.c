/* Versions that outlive their slices; see grave.h. Thread: shard. */
#include "server/shard/grave.h"

#include <stdlib.h>

struct buried {
    struct version *versions; /* of one slice: in memory of their own, */
    struct version *shared;   /* [grave->planes.count] and in planes; NULL where there are none */
};

struct grave {
    struct grave *next;
    struct planes planes;
    uint32_t count;
    struct buried list[]; /* [count] */
};

/* What the slice itself refers to is given back. */
static struct buried take(struct slice *slice)
{
    struct buried taken = {slice->versions, slice->shared};
    for (uint32_t i = 0; i < SLICE_VERSIONS; i++)
        if (slice->at[i])
            version_release(slice->at[i]);
    slice->versions = slice->shared = NULL;
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

static bool is_referred_to(const struct version *version)
{
    return atomic_load_explicit(&version->refs, memory_order_acquire) != 0;
}

static bool is_quiet(const struct grave *grave)
{
    for (uint32_t i = 0; i < grave->count; i++) {
        for (const struct version *v = grave->list[i].versions; v; v = v->next)
            if (is_referred_to(v))
                return false;
        for (uint32_t p = 0; grave->list[i].shared && p < grave->planes.count; p++)
            if (is_referred_to(&grave->list[i].shared[p]))
                return false;
    }
    return true;
}

static void grave_free(struct grave *grave)
{
    for (uint32_t i = 0; i < grave->count; i++) {
        for (struct version *v = grave->list[i].versions, *next; v; v = next) {
            next = v->next;
            blob_release(&v->memory);
            free(v);
        }
        free(grave->list[i].shared);
    }
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
