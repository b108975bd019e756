/* Memory shared with the shards; see client_shm.h. Thread: the client's. */
#include "client_shm.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "util.h"

enum { ANSWER_MS = 5000 };

/* Waits for the answer to what was sent. */
static dp_err answer_wait(int fd, struct shm_message *ret_answer, int *ret_passed, dp_error *err)
{
    uint64_t end_ms = mono_ms() + ANSWER_MS, now = mono_ms();
    dp_err e = DP_BUSY;
    for (; e == DP_BUSY && now < end_ms; now = mono_ms()) {
        struct pollfd item = {.fd = fd, .events = POLLIN};
        (void)poll(&item, 1, (int)(end_ms - now));
        e = shm_receive(fd, ret_answer, ret_passed, err);
    }
    if (e == DP_BUSY)
        return dp_fail(err, DP_UNREACHABLE, "the Unix socket gives no answer");
    if (e == DP_OK && ret_answer->kind == SHM_REFUSED)
        return dp_fail(err, dp_err_from_wire(ret_answer->code) == DP_HELLO_REQUIRED ? DP_HELLO_REQUIRED : DP_REFUSED,
                       "%s", ret_answer->text);
    return e;
}

static dp_err unexpected(int passed, dp_error *err)
{
    if (passed >= 0)
        close(passed);
    return dp_fail(err, DP_PROTO, "the Unix socket gives an answer to something else");
}

/* What a shard passes becomes the part's; *planes is what all of them must have, 0 before the first. */
static dp_err part_take(struct view_part *part, const struct shm_message *answer, int passed, uint32_t *planes,
                        dp_error *err)
{
    uint64_t bytes;
    if (__builtin_mul_overflow(answer->stride_bytes, answer->planes, &bytes) ||
        (*planes && *planes != answer->planes)) {
        close(passed);
        return dp_fail(err, DP_PROTO, "the shards have shared memory of different layouts");
    }
    dp_err e = shm_map(passed, (size_t)bytes, &part->memory, err);
    if (e)
        close(passed);
    else
        part->memory.fd = passed;
    part->stride_bytes = answer->stride_bytes;
    *planes = answer->planes;
    return e;
}

static dp_err shard_greet(struct client_shm *shm, const struct shm_place *place, struct shm_message *hello,
                          struct view_part *part, uint32_t *planes, dp_error *err)
{
    struct shm_message answer;
    int passed = -1;
    part->range = place->range;
    if (!place->name[0])
        return dp_fail(err, DP_REFUSED, "a shard of the server shares no memory");
    dp_err e = shm_connect(place->name, &shm->doors[shm->count], err);
    if (e)
        return e;
    int door = shm->doors[shm->count++];
    if (shm_send(door, hello, -1))
        return dp_fail(err, DP_UNREACHABLE, "the Unix socket @%s takes nothing", place->name);
    e = answer_wait(door, &answer, &passed, err);
    if (e == DP_OK && answer.kind != SHM_WELCOME)
        return unexpected(passed, err);
    return e ? e : part_take(part, &answer, passed, planes, err);
}

dp_err client_shm_open(struct client_shm *shm, const struct shm_place *places, uint32_t count, uint64_t session,
                       uint64_t incarnation, struct views *ret_views, dp_error *err)
{
    struct shm_message hello = {.kind = SHM_HELLO, .session = session, .incarnation = incarnation};
    struct view_part *parts = mem_array_zero(count, sizeof *parts);
    uint32_t planes = 0;
    *shm = (struct client_shm){.doors = mem_array(count, sizeof *shm->doors)};
    dp_err e = parts && shm->doors ? DP_OK : dp_fail(err, DP_NOMEM, "no memory for %u shards", count);
    for (uint32_t i = 0; e == DP_OK && parts && i < count; i++)
        e = shard_greet(shm, &places[i], &hello, &parts[i], &planes, err);
    if (e == DP_OK) {
        e = views_init(ret_views, parts, count, planes, err);
    } else {
        for (uint32_t i = 0; parts && i < count; i++)
            shm_fini(&parts[i].memory);
        free(parts);
    }
    if (e)
        client_shm_close(shm);
    return e;
}

void client_shm_close(struct client_shm *shm)
{
    for (uint32_t i = 0; i < shm->count; i++)
        close(shm->doors[i]);
    free(shm->doors);
    *shm = (struct client_shm){0};
}

dp_err client_shm_pass(struct client_shm *shm, uint32_t number, int fd, dp_error *err)
{
    struct shm_message slab = {.kind = SHM_SLAB, .slab = number}, answer = {0};
    if (number >= SHM_SLABS_MAX)
        return dp_fail(err, DP_REFUSED, "more than %d gradients at a time", SHM_SLABS_MAX);
    for (uint32_t i = 0; i < shm->count; i++)
        if (shm_send(shm->doors[i], &slab, fd))
            return dp_fail(err, DP_UNREACHABLE, "the Unix socket of a shard takes nothing");
    dp_err result = DP_OK;
    for (uint32_t i = 0; i < shm->count; i++) {
        int passed = -1;
        dp_err e = answer_wait(shm->doors[i], &answer, &passed, err);
        if (e == DP_OK && (answer.kind != SHM_TAKEN || answer.slab != number))
            e = unexpected(passed, err);
        result = result ? result : e;
    }
    return result;
}
