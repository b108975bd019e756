/* Gradient buffers with counted references. Invariant: a slab whose count is 0 is read and written by nobody, so the
 * client may take it; the release of the last reference and the acquire here order the accesses. */
#include "client_slab.h"

#include <stdbool.h>
#include <stdlib.h>

#include "util.h"

static struct slab *slab_new(struct slab_pool *pool)
{
    struct slab *slab = mem_array_zero(1, sizeof *slab);
    if (slab) {
        slab->next = pool->all;
        pool->all = slab;
    }
    return slab;
}

/* A step's rows may be more than those of the step before: a little room is left for the next. */
static bool slab_grow(struct slab *slab, uint64_t elems)
{
    uint64_t room = slab->room ? elems + elems / 8 : elems;
    free(slab->values);
    slab->values = mem_array((size_t)room, sizeof *slab->values);
    slab->room = slab->values ? room : 0;
    return slab->values != NULL;
}

struct slab *slab_take(struct slab_pool *pool, uint64_t elems)
{
    struct slab *slab = pool->all;
    while (slab && atomic_load_explicit(&slab->refs, memory_order_acquire) != 0)
        slab = slab->next;
    if (!slab)
        slab = slab_new(pool);
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
    atomic_fetch_add_explicit(&slab->refs, 1, memory_order_relaxed);
}

void slab_drop(struct slab *slab)
{
    atomic_fetch_sub_explicit(&slab->refs, 1, memory_order_release);
}

void slab_drop_message(void *values, void *slab)
{
    (void)values;
    slab_drop(slab);
}

void slab_pool_fini(struct slab_pool *pool)
{
    while (pool->all) {
        struct slab *slab = pool->all;
        pool->all = slab->next;
        free(slab->values);
        free(slab);
    }
}
