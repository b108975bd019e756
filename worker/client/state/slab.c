/* Gradient buffers with counted references. Invariant: a slab whose count is 0 is written by nobody, and read at most
 * by shards that are not done with it; so the client may take it when they are. The release of the last reference and
 * the acquire here order the accesses. */
#include "worker/client/state/slab.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/base/mem_room.h"
#include "common/base/util.h"

/* Memory that the shards map under this number, where they do; else it gets ordinary memory as it needs it. */
static void slab_share(struct slab_pool *pool, struct slab *slab, uint32_t number, uint64_t elems)
{
    if (!pool->share)
        return;
    if (!pool->share(pool->arg, number, (size_t)elems * sizeof(float), &slab->memory)) {
        pool->share = NULL;
        return;
    }
    slab->values = slab->memory.base;
    slab->room = elems;
    slab->number = number;
    pool->shared = MAX(pool->shared, number + 1);
}

static void slab_free(struct slab *slab)
{
    if (slab->memory.base)
        shm_fini(&slab->memory);
    else
        free(slab->values);
    free(slab);
}

static bool slab_is_free(const struct slab *slab)
{
    return atomic_load_explicit(&slab->refs, memory_order_acquire) == 0;
}

/* Frees what earlier attempts have left. */
static void slab_pool_sweep(struct slab_pool *pool)
{
    for (struct slab **at = &pool->all; *at;) {
        struct slab *slab = *at;
        if (slab->attempt == pool->attempt || !slab_is_free(slab)) {
            at = &slab->next;
            continue;
        }
        *at = slab->next;
        slab_free(slab);
    }
}

static struct slab *slab_new(struct slab_pool *pool, uint64_t elems)
{
    slab_pool_sweep(pool);
    struct slab *slab = mem_array_zero(1, sizeof *slab);
    if (slab) {
        slab_share(pool, slab, pool->shared, elems);
        slab->attempt = pool->attempt;
        slab->next = pool->all;
        pool->all = slab;
    }
    return slab;
}

/* A step's rows may be more than those of the step before: a little room is left for the next. */
static bool slab_grow(struct slab *slab, uint64_t elems)
{
    uint64_t room = slab->room ? elems + elems / 8 : elems;
    dp_error unused;
    free(slab->values);
    slab->values = NULL;
    if (mem_check_room("a gradient", room * sizeof *slab->values, &unused) == DP_OK)
        slab->values = mem_array((size_t)room, sizeof *slab->values);
    slab->room = slab->values ? room : 0;
    return slab->values != NULL;
}

/* Larger memory for what the shards have read as it was, under the same number. */
static void slab_reshare(struct slab_pool *pool, struct slab *slab, uint64_t elems)
{
    shm_fini(&slab->memory);
    slab->values = NULL;
    slab->room = 0;
    slab_share(pool, slab, slab->number, elems + elems / 4);
}

/* Whether it can be had. */
static bool slab_is_idle(const struct slab_pool *pool, const struct slab *slab)
{
    return slab_is_free(slab) && slab->attempt == pool->attempt && slab->until <= pool->done;
}

/* The idle slab that is large enough, or can be made so in place; else one that is shared and too small, or NULL. */
static struct slab *slab_choose(const struct slab_pool *pool, uint64_t elems)
{
    struct slab *small = NULL;
    for (struct slab *slab = pool->all; slab; slab = slab->next) {
        if (!slab_is_idle(pool, slab))
            continue;
        if (!slab->memory.base || slab->room >= elems)
            return slab;
        small = slab;
    }
    return small;
}

struct slab *slab_take(struct slab_pool *pool, uint64_t elems)
{
    struct slab *slab = slab_choose(pool, elems);
    if (!slab)
        slab = slab_new(pool, elems);
    else if (slab->memory.base && slab->room < elems)
        slab_reshare(pool, slab, elems);
    if (!slab || ((slab->room < elems || !slab->values) && !slab_grow(slab, elems)))
        return NULL;
    atomic_store_explicit(&slab->refs, 1, memory_order_relaxed);
    return slab;
}

struct slab *slab_find(const struct slab_pool *pool, const float *values)
{
    struct slab *slab = pool->all;
    while (slab && (slab->values != values || atomic_load_explicit(&slab->refs, memory_order_relaxed) == 0))
        slab = slab->next;
    return slab;
}

void slab_keep(struct slab *slab)
{
    unsigned before = atomic_fetch_add_explicit(&slab->refs, 1, memory_order_relaxed);
    assert(before > 0);
    (void)before;
}

void slab_drop(struct slab *slab)
{
    unsigned before = atomic_fetch_sub_explicit(&slab->refs, 1, memory_order_release);
    assert(before > 0);
    (void)before;
}

void slab_drop_message(void *values, void *slab)
{
    (void)values;
    slab_drop(slab);
}

bool slab_is_shared(const struct slab_pool *pool, const struct slab *slab)
{
    return slab->memory.base && slab->attempt == pool->attempt;
}

void slab_pool_renew(struct slab_pool *pool)
{
    pool->attempt++;
    pool->shared = 0;
    pool->share = NULL;
    slab_pool_sweep(pool);
}

void slab_pool_fini(struct slab_pool *pool)
{
    while (pool->all) {
        struct slab *slab = pool->all;
        pool->all = slab->next;
        slab_free(slab);
    }
}
