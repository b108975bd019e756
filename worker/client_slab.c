/* Gradient buffers with counted references. Invariant: a slab whose count is 0 is read and written by nobody, so the
 * client may take it; the release of the last reference and the acquire here order the accesses. */
#include "client_slab.h"

#include <stdlib.h>

#include "util.h"

static struct slab *slab_new(struct slab_pool *pool)
{
    struct slab *slab = malloc(sizeof *slab);
    float *values = mem_array(pool->elems, sizeof *values);
    if (!slab || !values) {
        free(slab);
        free(values);
        return NULL;
    }
    *slab = (struct slab){.values = values, .next = pool->all};
    pool->all = slab;
    return slab;
}

struct slab *slab_take(struct slab_pool *pool)
{
    struct slab *slab = pool->all;
    while (slab && atomic_load_explicit(&slab->refs, memory_order_acquire) != 0)
        slab = slab->next;
    if (!slab)
        slab = slab_new(pool);
    if (slab)
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
