/* Memory that a client shares with its shards: views of theta over the planes of several shards, rings of rows, and
 * slabs of gradients, which come back when all shards have read them. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/support/leaks.h"
#include "worker/client/contact/shm.h"
#include "worker/client/state/rings.h"
#include "worker/client/state/slab.h"
#include "worker/client/state/views.h"

enum { PAGE = 4096, PAGE_FLOATS = PAGE / sizeof(float), PLANES = 3, PARTS_MAX = 4 };

/* The shards' own mappings. */
static struct shm made[PARTS_MAX];

static float value_of(uint32_t plane, uint64_t elem)
{
    return (float)(plane * 100000 + elem);
}

/* A shard's planes as server/dense/planes.c lays them out, and what its client maps of them. */
static struct view_part part_make(uint32_t i, struct range range)
{
    uint64_t first = range.first / PAGE_FLOATS * PAGE_FLOATS;
    uint64_t stride = shm_whole_pages((size_t)(range.first - first + range.count) * sizeof(float));
    struct view_part part = {.range = range, .stride_bytes = stride};
    dp_error err;
    cr_assert_eq(shm_new((size_t)stride * PLANES, SHM_READERS, &made[i], &err), DP_OK, "%s", err.text);
    for (uint32_t p = 0; p < PLANES; p++)
        for (uint64_t e = 0; e < range.count; e++)
            ((float *)made[i].base)[p * (stride / sizeof(float)) + range.first - first + e] =
                value_of(p, range.first + e);
    cr_assert_eq(shm_map(made[i].fd, (size_t)stride * PLANES, &part.memory, &err), DP_OK, "%s", err.text);
    part.memory.fd = made[i].fd; /* as received: the client closes it */
    made[i].fd = -1;
    return part;
}

static struct view_part *parts_make(const uint64_t *counts, uint32_t count)
{
    struct view_part *parts = calloc(PARTS_MAX, sizeof *parts);
    uint64_t at = 0;
    for (uint32_t i = 0; i < count; at += counts[i++])
        parts[i] = part_make(i, (struct range){at, counts[i]});
    return parts;
}

static void made_drop(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        shm_fini(&made[i]);
}

static void assert_views(const uint64_t *counts, uint32_t count)
{
    struct views views;
    dp_error err;
    cr_assert_eq(views_init(&views, parts_make(counts, count), count, PLANES, &err), DP_OK, "%s", err.text);
    for (uint32_t p = 0; p < PLANES; p++) {
        for (uint64_t e = 0; e < views.elems; e++)
            cr_assert_eq(*views_at(&views, p, e), value_of(p, e), "plane %u, element %ju", p, (uintmax_t)e);
        const float *theta = views_finish(&views, p);
        for (uint64_t e = 0; e < views.elems; e++)
            cr_assert_eq(theta[e], value_of(p, e), "plane %u, element %ju as one vector", p, (uintmax_t)e);
    }
    views_fini(&views);
    made_drop(count);
    ASSERT_NO_LEAKS();
}

Test(client_shared, planes_of_all_shards_are_one_vector)
{
    assert_views((const uint64_t[]){1}, 1);
    assert_views((const uint64_t[]){3 * PAGE_FLOATS}, 1);
    assert_views((const uint64_t[]){PAGE_FLOATS, 2 * PAGE_FLOATS}, 2);
    assert_views((const uint64_t[]){5, 7, 9}, 3);
    assert_views((const uint64_t[]){PAGE_FLOATS - 1, 2, 3 * PAGE_FLOATS}, 3);
    assert_views((const uint64_t[]){3 * PAGE_FLOATS + 5, 1, PAGE_FLOATS, 4 * PAGE_FLOATS - 6}, 4);
}

Test(client_shared, a_commit_is_seen_where_pages_are_mapped_and_after_a_copy_where_they_meet)
{
    const uint64_t counts[] = {2 * PAGE_FLOATS + 10, 2 * PAGE_FLOATS};
    struct views views;
    dp_error err;
    cr_assert_eq(views_init(&views, parts_make(counts, 2), 2, PLANES, &err), DP_OK, "%s", err.text);
    (void)views_finish(&views, 1);
    uint64_t stride = views.parts[0].stride_bytes / sizeof(float), met = 2 * PAGE_FLOATS + 9;
    ((float *)made[0].base)[stride + 3] = -1;
    ((float *)made[0].base)[stride + met] = -2;
    cr_assert_eq(views.theta[1][3], -1.0F, "mapped");
    cr_assert_eq(*views_at(&views, 1, met), -2.0F);
    cr_assert_eq(views_finish(&views, 1)[met], -2.0F, "copied");
    cr_assert_eq(views.theta[0][3], value_of(0, 3), "another plane");
    views_fini(&views);
    made_drop(2);
}

/* Layouts that a shard cannot mean. */
Test(client_shared, planes_that_do_not_hold_their_range_are_refused)
{
    const uint64_t counts[] = {PAGE_FLOATS + 1, 2 * PAGE_FLOATS};
    for (int wrong = 0; wrong < 5; wrong++) {
        struct view_part *parts = parts_make(counts, 2);
        struct views views;
        dp_error err;
        uint32_t planes = PLANES;
        if (wrong == 0)
            parts[0].stride_bytes = PAGE; /* less than the range */
        else if (wrong == 1)
            parts[1].stride_bytes += sizeof(float); /* not whole pages */
        else if (wrong == 2)
            planes++; /* more than there is memory for */
        else if (wrong == 3)
            parts[1].range.first++; /* a gap */
        else
            parts[1].stride_bytes = UINT64_MAX / PAGE * PAGE;
        cr_assert_eq(views_init(&views, parts, 2, planes, &err), DP_PROTO, "case %d", wrong);
        cr_assert_null(views.theta);
        made_drop(2);
    }
    ASSERT_NO_LEAKS();
}

Test(client_shared, a_job_without_dense_tensors_has_no_views)
{
    struct views views;
    dp_error err;
    cr_assert_eq(views_init(&views, calloc(1, sizeof(struct view_part)), 0, 0, &err), DP_OK, "%s", err.text);
    cr_assert_eq(views.count, 0);
    views_fini(&views);
    ASSERT_NO_LEAKS();
}

/* ---- rings ---- */

static void ring_pass(struct rings *rings, uint32_t number, const char *text, uint64_t bytes, dp_err want)
{
    struct shm ring;
    dp_error err;
    cr_assert_eq(shm_new(2 * PAGE, SHM_READERS, &ring, &err), DP_OK, "%s", err.text);
    strcpy(ring.base, text);
    cr_assert_eq(rings_add(rings, number, ring.fd, bytes, &err), want, "ring %u", number);
    shm_fini(&ring);
}

static const char *rows_at(struct rings *rings, uint32_t number, uint64_t at, uint64_t bytes)
{
    const void *values;
    dp_error err;
    cr_assert_eq(rings_at(rings, number, at, bytes, &values, &err), DP_OK, "%s", err.text);
    return values;
}

static void rows_refused(struct rings *rings, uint32_t number, uint64_t at, uint64_t bytes)
{
    const void *values;
    dp_error err;
    cr_assert_eq(rings_at(rings, number, at, bytes, &values, &err), DP_PROTO);
    cr_assert_null(values);
}

Test(client_shared, rows_are_read_where_a_ring_has_them)
{
    struct rings rings = {0};
    rows_refused(&rings, 1, 0, 4);
    ring_pass(&rings, 1, "one", 2 * PAGE + 1, DP_PROTO);
    ring_pass(&rings, 1, "one", 2 * PAGE, DP_OK);
    ring_pass(&rings, 1, "once more", 2 * PAGE, DP_PROTO);
    cr_assert_str_eq(rows_at(&rings, 1, 0, 4), "one");
    cr_assert_str_eq(rows_at(&rings, 1, 6 * PAGE, 2 * PAGE), "one", "positions count bytes of all turns");
    rows_refused(&rings, 1, 6 * PAGE, 2 * PAGE + 1);
    rows_refused(&rings, 1, 6 * PAGE + 1, 2 * PAGE);
    rows_refused(&rings, 1, UINT64_MAX, 4);
    rows_refused(&rings, 2, 0, 4);
    rings_fini(&rings);
    ASSERT_NO_LEAKS();
}

Test(client_shared, an_answer_that_was_overtaken_is_not_read)
{
    struct rings rings = {0};
    ring_pass(&rings, 1, "one", 2 * PAGE, DP_OK);
    ring_pass(&rings, 2, "two", 2 * PAGE, DP_OK);
    cr_assert(rings_have(&rings, 2) && !rings_have(&rings, 3));
    cr_assert_str_eq(rows_at(&rings, 1, 0, 4), "one", "what comes before the first answer in the second ring");
    rings_take(&rings, 4);
    cr_assert_null(rows_at(&rings, 1, 0, 4), "taken before");
    cr_assert_str_eq(rows_at(&rings, 2, 2 * PAGE, 4), "two");
    rings_take(&rings, 2 * PAGE + 4);
    rings_take(&rings, 8);
    cr_assert_eq(rings.taken, 2 * PAGE + 4);
    cr_assert_null(rows_at(&rings, 1, 4 * PAGE, 4), "of a ring that is no longer in use");
    rings_fini(&rings);
    ASSERT_NO_LEAKS();
}

/* A shard that was frozen for longer than its answer to a slab is waited for. */
Test(client_shared, an_answer_that_comes_too_late_does_not_hide_the_ring_behind_it)
{
    int ends[2];
    struct shm ring;
    dp_error err;
    const void *values;
    struct rings rings = {0};
    cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    cr_assert_eq(shm_new(PAGE, SHM_READERS, &ring, &err), DP_OK, "%s", err.text);
    strcpy(ring.base, "rows");
    struct client_shm shm = {.count = 1, .answer_ms = 5000, .doors = &ends[0], .rings = &rings};
    struct shm_message taken = {.kind = SHM_TAKEN}, passed = {.kind = SHM_RING, .ring = 1, .bytes = PAGE};
    cr_assert_eq(shm_send(ends[1], &taken, -1), DP_OK);
    cr_assert_eq(shm_send(ends[1], &passed, ring.fd), DP_OK);
    cr_assert_eq(client_shm_rows(&shm, 0, 1, 0, 8, &values, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(values, "rows");
    rings_fini(&rings);
    shm_fini(&ring);
    close(ends[0]);
    close(ends[1]);
    ASSERT_NO_LEAKS();
}

/* ---- slabs ---- */

/* Memory that was passed to the shards. */
struct passed {
    uint32_t count, number; /* times, and the last number */
    size_t bytes;
    bool fails;
};

static bool pass_slab(void *arg, uint32_t number, size_t bytes, struct shm *ret_memory)
{
    struct passed *passed = arg;
    dp_error err;
    passed->count++;
    passed->number = number;
    passed->bytes = bytes;
    return !passed->fails && shm_new(bytes, SHM_WRITERS, ret_memory, &err) == DP_OK;
}

/* A step's gradient of `elems` floats: taken, pushed, and dropped by the client. */
static struct slab *slab_used(struct slab_pool *pool, uint64_t elems, uint64_t step)
{
    struct slab *slab = slab_take(pool, elems);
    cr_assert_not_null(slab);
    for (uint64_t i = 0; i < elems; i++)
        slab->values[i] = (float)step;
    slab->until = step + 1;
    slab_drop(slab);
    return slab;
}

Test(client_shared, a_slab_comes_back_when_the_shards_are_done_with_it)
{
    struct passed passed = {0};
    struct slab_pool pool = {.share = pass_slab, .arg = &passed};
    struct slab *first = slab_used(&pool, 100, 0), *second = slab_used(&pool, 100, 1);
    cr_assert(first != second && first->number == 0 && second->number == 1 && passed.count == 2);
    pool.done = 1;
    cr_assert_eq(slab_used(&pool, 90, 2), first, "all shards have read step 0");
    cr_assert_eq(passed.count, 2);
    slab_pool_fini(&pool);
    ASSERT_NO_LEAKS();
}

Test(client_shared, a_slab_that_is_too_small_is_passed_anew_under_its_number)
{
    struct passed passed = {0};
    struct slab_pool pool = {.share = pass_slab, .arg = &passed};
    struct slab *slab = slab_used(&pool, 100, 0);
    cr_assert_neq(slab_used(&pool, 5000, 0), slab, "the shards may be reading it");
    cr_assert(passed.count == 2 && passed.number == 1);
    pool.done = 1;
    cr_assert_eq(slab_used(&pool, 6000, 1)->number, passed.number);
    cr_assert(passed.count == 3 && passed.bytes > 6000 * sizeof(float), "with some room for the next step");
    cr_assert_eq(pool.shared, 2, "no further number");
    slab_pool_fini(&pool);
    ASSERT_NO_LEAKS();
}

Test(client_shared, slabs_are_ordinary_memory_where_none_can_be_shared)
{
    struct passed passed = {0};
    struct slab_pool pool = {.share = pass_slab, .arg = &passed};
    struct slab *shared = slab_used(&pool, 100, 0);
    passed.fails = true;
    struct slab *plain = slab_used(&pool, 100, 1);
    cr_assert(slab_is_shared(&pool, shared) && !slab_is_shared(&pool, plain));
    pool.done = 2;
    struct slab *again = slab_take(&pool, 9000);
    cr_assert(again && !slab_is_shared(&pool, again));
    again->values[8999] = 1;
    slab_drop(again);
    cr_assert_eq(passed.count, 2, "it is not tried again in this session");
    slab_pool_fini(&pool);
    ASSERT_NO_LEAKS();
}

Test(client_shared, slabs_of_a_session_that_was_lost_are_not_used_again)
{
    struct passed passed = {0};
    struct slab_pool pool = {.share = pass_slab, .arg = &passed};
    struct slab *held = slab_take(&pool, 100);
    (void)slab_used(&pool, 100, 0);
    slab_pool_renew(&pool);
    pool.share = pass_slab;
    cr_assert_not(slab_is_shared(&pool, held));
    struct slab *fresh = slab_take(&pool, 100);
    cr_assert(fresh != held && fresh->number == 0 && slab_is_shared(&pool, fresh));
    held->values[99] = 1; /* its holder may go on */
    slab_drop(held);
    slab_drop(fresh);
    slab_pool_fini(&pool);
    ASSERT_NO_LEAKS();
}
