/* Versions that gradients may yet be computed on; see kept_versions.h. Thread: shard. */
#include "server/dense/kept_versions.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/dense/version.h"

void past_fini(struct past *past)
{
    for (size_t i = 0; i < past->count; i++)
        version_release(past->list[i].version);
    free(past->list);
    *past = (struct past){0};
}

static bool same(const struct past *past, size_t a, size_t b)
{
    return past->list[a].version->number == past->list[b].version->number;
}

static void drop(struct past *past, size_t i)
{
    bool shared = (i > 0 && same(past, i - 1, i)) || (i + 1 < past->count && same(past, i, i + 1));
    version_release(past->list[i].version);
    memmove(&past->list[i], &past->list[i + 1], (past->count - i - 1) * sizeof *past->list);
    past->count--;
    past->versions -= !shared;
}

void past_forget(struct past *past, uint32_t session)
{
    for (size_t i = 0; i < past->count; i++)
        if (past->list[i].session == session) {
            drop(past, i);
            return;
        }
}

static bool make_room(struct past *past)
{
    if (past->count < past->room)
        return true;
    size_t room = past->room ? past->room * 2 : 8;
    struct past_entry *grown = realloc(past->list, room * sizeof *grown);
    if (!grown)
        return false;
    past->list = grown;
    past->room = room;
    return true;
}

void past_keep(struct past *past, uint32_t session, struct version *version)
{
    past_forget(past, session);
    if (past->most == 0 || !make_room(past))
        return;
    size_t at = past->count++;
    past->list[at] = (struct past_entry){session, version};
    version_retain(version);
    assert(at == 0 || past->list[at - 1].version->number <= version->number);
    past->versions += at == 0 || !same(past, at - 1, at);
    while (past->versions > past->most)
        drop(past, 0);
}

const struct version *past_find(const struct past *past, uint64_t number)
{
    size_t low = 0, high = past->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (past->list[middle].version->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < past->count && past->list[low].version->number == number ? past->list[low].version : NULL;
}
