/* Memory shared with the shards; see shm.h. Thread: the client's. */
#include "worker/client/contact/shm.h"

#include <assert.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/util.h"

/* A shard answers between its commits, but first it fills its part of theta: MIB_PER_S is slow even where each page has
 * to be found first. */
enum { ANSWER_MS = 5000, LOOK_MS = 100, MIB_PER_S = 64 };

static uint64_t answer_ms(const struct shm_place *places, uint32_t count)
{
    uint64_t elems = 0;
    for (uint32_t i = 0; i < count; i++)
        elems += places[i].range.count;
    return ANSWER_MS + 1000 * (elems * sizeof(float) >> 20) / MIB_PER_S;
}

/* Waits for a message. DP_STOPPED. */
static dp_err message_wait(const struct client_shm *shm, uint32_t shard, struct shm_message *ret_message,
                           int *ret_passed, dp_error *err)
{
    const int fd = shm->doors[shard];
    uint64_t end_ms = mono_ms() + shm->answer_ms, now = mono_ms();
    dp_err e = DP_BUSY;
    for (; e == DP_BUSY && now < end_ms; now = mono_ms()) {
        struct pollfd item = {.fd = fd, .events = POLLIN};
        if (shm->stop && __atomic_load_n(shm->stop, __ATOMIC_RELAXED))
            return dp_fail(err, DP_STOPPED, "stopped by a signal");
        (void)poll(&item, 1, (int)MIN(end_ms - now, (uint64_t)LOOK_MS));
        e = shm_receive(fd, ret_message, ret_passed, err);
    }
    return e;
}

static dp_err ring_add(struct client_shm *shm, uint32_t shard, const struct shm_message *message, int passed,
                       dp_error *err)
{
    dp_err e = rings_add(&shm->rings[shard], message->ring, passed, message->bytes, err);
    close(passed);
    return e;
}

/* Waits for the answer to what was sent; rings may come before it. */
static dp_err answer_wait(struct client_shm *shm, uint32_t shard, struct shm_message *ret_answer, int *ret_passed,
                          dp_error *err)
{
    dp_err e = message_wait(shm, shard, ret_answer, ret_passed, err);
    while (e == DP_OK && ret_answer->kind == SHM_RING) {
        e = ring_add(shm, shard, ret_answer, *ret_passed, err);
        if (e == DP_OK)
            e = message_wait(shm, shard, ret_answer, ret_passed, err);
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

/* Memory that a shard passes becomes the part's. *planes is the number that all parts with a range must have, 0 before
 * the first. */
static dp_err part_take(struct view_part *part, const struct shm_message *answer, int passed, uint32_t *planes,
                        dp_error *err)
{
    uint64_t bytes;
    if (answer->planes == 0 && part->range.count == 0)
        return DP_OK;
    if (answer->planes == 0)
        return dp_fail(err, DP_PROTO, "a shard shares no memory for its range");
    if (part->range.count == 0 || __builtin_mul_overflow(answer->stride_bytes, answer->planes, &bytes) ||
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
    uint32_t shard = shm->count++;
    if (shm_send(shm->doors[shard], hello, -1))
        return dp_fail(err, DP_UNREACHABLE, "the Unix socket @%s takes nothing", place->name);
    e = answer_wait(shm, shard, &answer, &passed, err);
    if (e == DP_OK && answer.kind != SHM_WELCOME)
        return unexpected(passed, err);
    return e ? e : part_take(part, &answer, passed, planes, err);
}

/* Moves the parts that have a range to the front; returns how many. */
static uint32_t parts_filled(struct view_part *parts, uint32_t count)
{
    uint32_t filled = 0;
    for (uint32_t i = 0; i < count; i++)
        if (parts[i].range.count > 0)
            parts[filled++] = parts[i];
    return filled;
}

dp_err client_shm_open(struct client_shm *shm, const struct shm_place *places, uint32_t count, uint64_t session,
                       uint64_t incarnation, const volatile int *stop, struct views *ret_views, dp_error *err)
{
    struct shm_message hello = {.kind = SHM_HELLO, .session = session, .incarnation = incarnation};
    assert(!shm->doors && !shm->rings);
    struct view_part *parts = mem_array_zero(count, sizeof *parts);
    uint32_t planes = 0;
    dp_err e = DP_OK;
    *shm = (struct client_shm){.answer_ms = answer_ms(places, count),
                               .stop = stop,
                               .doors = mem_array(count, sizeof *shm->doors),
                               .rings = mem_array_zero(count, sizeof *shm->rings)};
    if (!parts || !shm->doors || !shm->rings) {
        free(parts);
        client_shm_close(shm);
        return dp_fail(err, DP_NOMEM, "no memory for %u shards", count);
    }
    for (uint32_t i = 0; e == DP_OK && i < count; i++)
        e = shard_greet(shm, &places[i], &hello, &parts[i], &planes, err);
    if (e == DP_OK) {
        struct shm_message begin = {.kind = SHM_BEGIN};
        e = views_init(ret_views, parts, parts_filled(parts, count), planes, err);
        for (uint32_t i = 0; e == DP_OK && i < count; i++)
            (void)!shm_send(shm->doors[i], &begin, -1); /* one that does not hear it uses its socket */
    } else {
        for (uint32_t i = 0; i < count; i++)
            shm_fini(&parts[i].memory);
        free(parts);
    }
    if (e)
        client_shm_close(shm);
    return e;
}

void client_shm_close(struct client_shm *shm)
{
    for (uint32_t i = 0; shm->doors && i < shm->count; i++)
        close(shm->doors[i]);
    for (uint32_t i = 0; shm->rings && i < shm->count; i++)
        rings_fini(&shm->rings[i]);
    free(shm->doors);
    free(shm->rings);
    *shm = (struct client_shm){0};
}

dp_err client_shm_pass(struct client_shm *shm, uint32_t number, const struct shm *memory, dp_error *err)
{
    struct shm_message slab = {.kind = SHM_SLAB, .slab = number, .bytes = memory->bytes}, answer = {0};
    if (number >= SHM_SLABS_MAX)
        return dp_fail(err, DP_REFUSED, "more than %d gradients at a time", SHM_SLABS_MAX);
    for (uint32_t i = 0; i < shm->count; i++)
        if (shm_send(shm->doors[i], &slab, memory->fd))
            return dp_fail(err, DP_UNREACHABLE, "the Unix socket of a shard takes nothing");
    dp_err result = DP_OK;
    for (uint32_t i = 0; i < shm->count; i++) {
        int passed = -1;
        dp_err e = answer_wait(shm, i, &answer, &passed, err);
        if (e == DP_OK && (answer.kind != SHM_TAKEN || answer.slab != number))
            e = unexpected(passed, err);
        result = result ? result : e;
    }
    return result;
}

/* A ring, or the answer to a slab that was given up while the shard was silent: nobody waits for that any more. */
static dp_err ring_take(struct client_shm *shm, uint32_t shard, const struct shm_message *message, int passed,
                        dp_error *err)
{
    if (message->kind == SHM_TAKEN || message->kind == SHM_REFUSED)
        return DP_OK;
    return message->kind == SHM_RING ? ring_add(shm, shard, message, passed, err) : unexpected(passed, err);
}

dp_err client_shm_rows(struct client_shm *shm, uint32_t shard, uint32_t ring, uint64_t at, uint64_t bytes,
                       const void **ret_values, dp_error *err)
{
    while (!rings_have(&shm->rings[shard], ring)) {
        struct shm_message message = {0};
        int passed = -1;
        dp_err e = message_wait(shm, shard, &message, &passed, err);
        if (e == DP_BUSY)
            return dp_fail(err, DP_PROTO, "rows in ring %u, which was not passed", ring);
        if (e == DP_OK)
            e = ring_take(shm, shard, &message, passed, err);
        if (e)
            return e;
    }
    return rings_at(&shm->rings[shard], ring, at, bytes, ret_values, err);
}
