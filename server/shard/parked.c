/* Pulls that wait; see parked.h. Thread: shard. */
#include "server/shard/parked.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/util.h"

/* Index of a session's pull, count if it has none. */
static size_t parked_find(const struct parked_list *list, uint32_t session)
{
    size_t i = 0;
    while (i < list->count && list->list[i].session != session)
        i++;
    return i;
}

static bool parked_grow(struct parked_list *list)
{
    size_t room = list->room ? list->room * 2 : 8;
    struct parked *grown = realloc(list->list, room * sizeof *grown);
    if (!grown)
        return false;
    list->list = grown;
    list->room = room;
    return true;
}

bool parked_put(struct parked_list *list, const struct parked *pull)
{
    size_t at = parked_find(list, pull->session);
    if (at == list->room && !parked_grow(list))
        return false;
    struct rowlist *before = at < list->count ? list->list[at].keys : NULL;
    list->list[at] = *pull;
    list->list[at].since_ns = mono_ns();
    rowlist_retain(pull->keys);
    rowlist_release(&before);
    list->count = MAX(list->count, at + 1);
    assert(list->count <= list->room);
    return true;
}

void parked_drop(struct parked_list *list, size_t index)
{
    assert(index < list->count);
    rowlist_release(&list->list[index].keys);
    list->list[index] = list->list[--list->count];
}

void parked_forget(struct parked_list *list, uint32_t session)
{
    size_t at = parked_find(list, session);
    if (at < list->count)
        parked_drop(list, at);
}

void parked_fini(struct parked_list *list)
{
    while (list->count > 0)
        parked_drop(list, 0);
    free(list->list);
    *list = (struct parked_list){0};
}
