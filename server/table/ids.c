/* Lists of row ids and their cache; see ids.h.
 *
 * Invariant of the cache: bytes is what its lists take, and at most the budget. A list that was forgotten lives on with
 * whoever still refers to it. Thread: shard. */
#include "server/table/ids.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/mem.h"

static size_t list_bytes(uint32_t count)
{
    return sizeof(struct rowlist) + (size_t)count * (sizeof(uint64_t) + sizeof(uint32_t));
}

struct rowlist *rowlist_new(uint32_t count)
{
    struct rowlist *list = mem_array(list_bytes(count), 1);
    if (!list)
        return NULL;
    *list = (struct rowlist){.refs = 1, .count = count, .missing = count};
    list->ids = (uint64_t *)(void *)(list + 1);
    list->rows = (uint32_t *)(void *)(list->ids + count);
    return list;
}

struct rowlist *rowlist_retain(struct rowlist *list)
{
    if (list)
        list->refs++;
    return list;
}

void rowlist_release(struct rowlist **list)
{
    if (*list && --(*list)->refs == 0)
        free(*list);
    *list = NULL;
}

void rowcache_init(struct rowcache *cache, uint64_t budget_bytes)
{
    *cache = (struct rowcache){.budget_bytes = budget_bytes};
}

static struct rowlist **bucket_of(struct rowcache *cache, uint64_t hash)
{
    return &cache->buckets[hash % ROWCACHE_BUCKETS];
}

static void unlink_age(struct rowcache *cache, struct rowlist *list)
{
    *(list->older ? &list->older->newer : &cache->oldest) = list->newer;
    *(list->newer ? &list->newer->older : &cache->newest) = list->older;
}

static void link_newest(struct rowcache *cache, struct rowlist *list)
{
    list->older = cache->newest;
    list->newer = NULL;
    *(cache->newest ? &cache->newest->newer : &cache->oldest) = list;
    cache->newest = list;
}

static void unchain(struct rowcache *cache, const struct rowlist *list)
{
    struct rowlist **at = bucket_of(cache, list->hash);
    while (*at != list)
        at = &(*at)->chain;
    *at = list->chain;
}

/* Forgets those that were not used for longest until what is left takes at most `bytes`. */
static void forget_beyond(struct rowcache *cache, uint64_t bytes)
{
    struct rowlist *list = cache->oldest;
    while (list && cache->bytes > bytes) {
        struct rowlist *newer = list->newer;
        unchain(cache, list);
        unlink_age(cache, list);
        cache->bytes -= list_bytes(list->count);
        cache->lists--;
        rowlist_release(&list);
        list = newer;
    }
}

void rowcache_fini(struct rowcache *cache)
{
    forget_beyond(cache, 0);
}

struct rowlist *rowcache_find(struct rowcache *cache, uint32_t part, uint64_t hash, uint32_t count)
{
    struct rowlist *list = *bucket_of(cache, hash);
    while (list && (list->hash != hash || list->part != part || list->count != count))
        list = list->chain;
    if (list && list != cache->newest) {
        unlink_age(cache, list);
        link_newest(cache, list);
    }
    return list;
}

void rowcache_keep(struct rowcache *cache, struct rowlist *list)
{
    struct rowlist **bucket = bucket_of(cache, list->hash);
    assert(!list->chain && !list->older && !list->newer);
    list->chain = *bucket;
    *bucket = rowlist_retain(list);
    link_newest(cache, list);
    cache->bytes += list_bytes(list->count);
    cache->lists++;
    forget_beyond(cache, cache->budget_bytes);
    assert(cache->bytes <= cache->budget_bytes && (cache->lists > 0) == (cache->oldest != NULL));
}
