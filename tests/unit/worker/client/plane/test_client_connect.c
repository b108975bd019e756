/* The plane's connections: theta that is cut by a layout, connections of shards that nobody answers at. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "tests/unit/support/leaks.h"
#include "worker/client/plane/connect.h"

static struct client_job job = {.view = {.slots = 2}};
static struct session session;
static struct open_steps open_steps;

static struct plane plane_make(void)
{
    struct plane plane = {.session = &session, .job = &job, .open = &open_steps};
    carrier_init(&plane.carrier);
    return plane;
}

/* Shard 0 has two slices, shard 1 one, shard 2 nothing. */
static struct job_shard job_shards[] = {
    {.first_slice = 0, .slice_count = 2}, {.first_slice = 2, .slice_count = 1}, {.first_slice = 3, .slice_count = 0}};

static struct job_layout layout_make(uint64_t last)
{
    struct job_layout layout = {.shard_count = ARRAY_LEN(job_shards), .shards = job_shards, .slice_count = 3};
    layout.slices = mem_array_zero(3, sizeof *layout.slices);
    cr_assert_not_null(layout.slices);
    for (uint32_t i = 0; i < 3; i++)
        layout.slices[i] = (struct range){10 * i, i < 2 ? 10 : last};
    return layout;
}

static void plane_free(struct plane *plane)
{
    tables_fini(&plane->tables);
    theta_fini(&plane->theta);
}

Test(client_connect, theta_stays_where_it_is_cut_as_before)
{
    struct plane plane = plane_make();
    struct job_layout layout = layout_make(5), again = layout_make(5), other = layout_make(7);
    dp_error err;
    cr_assert_not(plane_fits(&plane, &layout), "there is no theta yet");
    cr_assert_eq(plane_cut(&plane, &layout, &err), DP_OK, "%s", err.text);
    cr_assert(!layout.slices && plane.theta.elems == 25 && plane_fits(&plane, &again));
    plane.theta.want = 4;
    cr_assert_eq(plane_cut(&plane, &again, &err), DP_OK, "%s", err.text);
    cr_assert(again.slices && plane.theta.want == 4);
    cr_assert_not(plane_fits(&plane, &other));
    cr_assert_eq(plane_cut(&plane, &other, &err), DP_OK, "%s", err.text);
    cr_assert(!other.slices && plane.theta.elems == 27 && plane.theta.want == 0);
    free(again.slices);
    plane_free(&plane);
    ASSERT_NO_LEAKS();
}

static void shards_connect(struct plane *plane, void *zmq)
{
    const struct endpoint nobody = {.host = "127.0.0.1", .port = 1};
    struct job_layout layout = layout_make(5);
    dp_error err;
    cr_assert_eq(plane_cut(plane, &layout, &err), DP_OK, "%s", err.text);
    cr_assert_eq(plane_check_files(&layout, &err), DP_OK, "%s", err.text);
    cr_assert_eq(plane_reserve(plane, &layout, &err), DP_OK, "%s", err.text);
    for (uint32_t i = 0; i < 2; i++)
        cr_assert_eq(plane_connect(plane, zmq, &job_shards[i], "nobody", &nobody, &err), DP_OK, "%s", err.text);
}

static void assert_lanes(bool in_order, uint32_t first, size_t links)
{
    void *zmq = zmq_ctx_new();
    struct plane plane = plane_make();
    struct link head = {0};
    dp_error err;
    shards_connect(&plane, zmq);
    struct carrier_ops ops = *plane.carrier.ops;
    ops.in_order = in_order;
    plane.carrier.ops = &ops;
    cr_assert_eq(plane_greet(&plane, &head, &err), DP_OK, "%s", err.text);
    cr_assert(plane.shards[0].lane_count == first && plane.shards[1].lane_count == 1);
    cr_assert(plane.link_count == links && plane.links[0] == &head && plane.links[1] == &plane.shards[0].lanes[0]);
    plane_disconnect(&plane);
    cr_assert(!plane.shards && plane.shard_count == 0 && plane.link_count == 0);
    plane_free(&plane);
    zmq_ctx_term(zmq);
    ASSERT_NO_LEAKS();
}

Test(client_connect, a_shard_with_several_slices_has_two_connections)
{
    assert_lanes(false, 2, 4);
}

Test(client_connect, a_carrier_that_needs_an_order_keeps_one_of_them)
{
    assert_lanes(true, 1, 3);
}
