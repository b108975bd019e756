/* Versions; see version.h. Thread: shard; references: any. */
#include "server/dense/version.h"

#include <assert.h>
#include <stdlib.h>

void version_retain(struct version *version)
{
    atomic_fetch_add_explicit(&version->refs, 1, memory_order_relaxed);
}

void version_release(struct version *version)
{
    uint32_t before = atomic_fetch_sub_explicit(&version->refs, 1, memory_order_release);
    assert(before > 0);
    (void)before;
}

bool version_is_only_mine(const struct version *version)
{
    return atomic_load_explicit(&version->refs, memory_order_acquire) == 1;
}

/* Takes a version that nobody refers to. */
static bool version_take(struct version *version)
{
    if (atomic_load_explicit(&version->refs, memory_order_acquire) != 0)
        return false;
    atomic_store_explicit(&version->refs, 1, memory_order_relaxed);
    return true;
}

/* One that nobody refers to. */
static struct version *version_find(const struct versions *versions, bool with_memory)
{
    struct version *v = versions->list;
    while (v && ((with_memory && !v->memory.data) || !version_take(v)))
        v = v->next;
    return v;
}

/* One that has no memory yet. */
static struct version *version_add(struct versions *versions)
{
    struct version *v = mem_array_zero(1, sizeof *v);
    if (!v)
        return NULL;
    *v = (struct version){.refs = 1, .plane = VERSION_UNSHARED, .next = versions->list};
    versions->list = v;
    return v;
}

static bool version_room(const struct versions *versions, struct version *v)
{
    assert(v->plane == VERSION_UNSHARED);
    if (!v->memory.data) {
        float *theta = mem_array(versions->elems, sizeof *theta);
        size_t bytes = theta ? (size_t)versions->elems * sizeof *theta : 0;
        v->memory = (struct blob){theta, bytes, theta, free};
    }
    v->theta = v->memory.data;
    return v->theta != NULL;
}

/* Versions were for some time more than planes; what their memory was is free. */
static void free_idle(struct versions *versions)
{
    for (struct version *v = versions->list; v; v = v->next) {
        if (!v->memory.data || !version_take(v))
            continue;
        blob_release(&v->memory);
        version_release(v);
    }
}

struct version *versions_new(struct versions *versions, uint64_t number)
{
    struct version *v = versions->shared ? &versions->shared[number % versions->shared_count] : NULL;
    if (!v || !version_take(v)) {
        v = version_find(versions, true);
        v = v ? v : version_find(versions, false);
        v = v ? v : version_add(versions);
        if (v && !version_room(versions, v)) {
            version_release(v);
            v = NULL;
        }
    } else {
        free_idle(versions);
    }
    if (v)
        v->number = number;
    return v;
}

struct version *versions_over(struct versions *versions, uint64_t number, const struct blob *payload)
{
    struct version *over = NULL;
    assert(payload->bytes >= versions->elems * sizeof(float));
    for (struct version *v = versions->list; v; v = v->next) {
        if (!version_take(v))
            continue;
        blob_release(&v->memory);
        if (over)
            version_release(v);
        else
            over = v;
    }
    over = over ? over : version_add(versions);
    if (over) {
        over->number = number;
        over->theta = payload->data;
    }
    return over;
}

dp_err versions_init(struct versions *versions, struct range range, const struct planes *planes)
{
    *versions = (struct versions){.elems = range.count};
    if (!planes)
        return DP_OK;
    versions->shared = mem_array_zero(planes->count, sizeof *versions->shared);
    if (!versions->shared)
        return DP_NOMEM;
    versions->shared_count = planes->count;
    for (uint32_t p = 0; p < planes->count; p++) {
        versions->shared[p].plane = p;
        versions->shared[p].theta = planes_at(planes, p, range.first);
    }
    return DP_OK;
}

void versions_fini(struct versions *versions)
{
    for (struct version *v = versions->list, *next; v; v = next) {
        next = v->next;
        blob_release(&v->memory);
        free(v);
    }
    free(versions->shared);
    *versions = (struct versions){0};
}

static bool is_free(const struct version *version)
{
    return atomic_load_explicit(&version->refs, memory_order_acquire) == 0;
}

bool versions_are_free(const struct versions *versions)
{
    for (const struct version *v = versions->list; v; v = v->next)
        if (!is_free(v))
            return false;
    for (uint32_t p = 0; p < versions->shared_count; p++)
        if (!is_free(&versions->shared[p]))
            return false;
    return true;
}
