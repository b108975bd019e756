/* The data plane without a network: pieces of shards, carriers, when something is sent again. */
#include <criterion/criterion.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "worker/client/plane/ask.h"
#include "worker/client/plane/carrier.h"
#include "worker/client/plane/outage.h"
#include "worker/client/plane/piece.h"
#include "worker/client/plane/plane.h"

enum { SLICES = 4, PARTS = 3 };

static uint8_t got[SLICES + PARTS];

/* Shard 0 has slices 0, 1 and 2 and part 0; shard 1 has slice 3 and parts 1 and 2. */
static struct shard shards[] = {
    {.lane_count = 2, .first_slice = 0, .slice_count = 3, .first_part = 0, .part_count = 1},
    {.lane_count = 1, .first_slice = 3, .slice_count = 1, .first_part = 1, .part_count = 2},
};

static struct client_timing timing = {.busy = 100, .busy_max = 300};
static struct tell tell;
static struct session session;
static struct beat beat;
static struct open_steps open_steps;

static void plane_make(struct plane *plane)
{
    session = (struct session){0};
    beat = (struct beat){0};
    *plane = (struct plane){.timing = &timing, .tell = &tell, .session = &session, .beat = &beat, .open = &open_steps};
    plane->theta = (struct theta){.slice_count = SLICES, .piece_count = SLICES + PARTS, .got = got};
    plane->shards = shards;
    plane->shard_count = 2;
    carrier_init(&plane->carrier);
}

Test(client_pieces, slices_of_all_shards_come_before_parts)
{
    static const uint32_t WANT[2][4] = {{0, 1, 2, 4}, {3, 5, 6}};
    struct plane plane;
    plane_make(&plane);
    for (uint32_t s = 0; s < 2; s++) {
        const uint32_t count = piece_count(&shards[s]);
        cr_assert_eq(count, s ? 3 : 4);
        for (uint32_t i = 0; i < count; i++)
            cr_assert_eq(piece_id(&plane, &shards[s], i), WANT[s][i], "piece %u of shard %u", i, s);
        for (uint32_t piece = 0; piece < SLICES + PARTS + 3; piece++) {
            bool of = false;
            for (uint32_t i = 0; i < count; i++)
                of |= WANT[s][i] == piece;
            cr_assert_eq(piece_is_of(&plane, &shards[s], piece), of, "piece %u and shard %u", piece, s);
        }
    }
}

Test(client_pieces, a_shard_lacks_what_any_of_its_pieces_lacks)
{
    struct plane plane;
    plane_make(&plane);
    for (size_t i = 0; i < ARRAY_LEN(got); i++)
        got[i] = THETA_NEW;
    cr_assert(!piece_any_missing(&plane, &shards[0]) && !piece_any_missing(&plane, &shards[1]));
    got[6] = THETA_MISSING;
    cr_assert(!piece_any_missing(&plane, &shards[0]) && piece_any_missing(&plane, &shards[1]));
    cr_assert(piece_missing(&plane, 6) && !piece_missing(&plane, 5));
    cr_assert_not(piece_any_lacks(&plane, &shards[1]), "no slots have come late");
    piece_forget(&plane, 1, 77);              /* a slice has no list of ids */
    piece_forget(&plane, SLICES + PARTS, 77); /* and a peer may name any piece */
}

Test(client_pieces, a_carrier_that_needs_an_order_has_one_connection)
{
    struct plane plane;
    plane_make(&plane);
    cr_assert_eq(shard_lane(&plane, &shards[0], 2), &shards[0].lanes[0]);
    cr_assert_eq(shard_lane(&plane, &shards[0], 1), &shards[0].lanes[1]);
    cr_assert_eq(shard_lane(&plane, &shards[1], 5), &shards[1].lanes[0]);
    struct carrier_ops ordered = *plane.carrier.ops;
    ordered.in_order = true;
    plane.carrier.ops = &ordered;
    cr_assert_eq(shard_lane(&plane, &shards[0], 1), &shards[0].lanes[0]);
}

Test(client_pieces, sockets_lend_nothing)
{
    struct plane plane;
    dp_error err;
    const void *values = NULL;
    Dp__Rows rows = DP__ROWS__INIT;
    plane_make(&plane);
    plane.slabs.done = 9;
    rows.part = 5;
    carrier_free_slabs(&plane);
    cr_assert_eq(plane.slabs.done, 0);
    cr_assert_eq(plane.carrier.ops->push(&plane, NULL), 0);
    cr_assert_eq(plane.carrier.ops->rows(&plane, &shards[1], &rows, 8, &values, &err), DP_PROTO);
    cr_assert_str_eq(err.text, "rows of part 5 are in shared memory, and there is none");
    cr_assert_not(carrier_return_theta(&plane), "theta is this worker's own");
    carrier_close(&plane);
    cr_assert_not_null(plane.carrier.ops);
}

Test(client_pieces, no_memory_is_shared_with_another_host)
{
    struct plane plane;
    dp_error err;
    plane_make(&plane);
    cr_assert_eq(carrier_open(&plane, DP_SHM_AUTO, "tcp://h:1", &err), DP_OK, "auto: the sockets will do");
    cr_assert_eq(carrier_open(&plane, DP_SHM_ON, "tcp://h:1", &err), DP_REFUSED);
    cr_assert_str_eq(err.text, "no memory can be shared with tcp://h:1, as was asked for: the server shares no memory");
    (void)str_copy(session.host, sizeof session.host, "elsewhere");
    cr_assert_eq(carrier_open(&plane, DP_SHM_ON, "tcp://h:1", &err), DP_REFUSED);
    cr_assert_eq(carrier_open(&plane, DP_SHM_OFF, "tcp://h:1", &err), DP_OK);
}

Test(client_pieces, the_earliest_time_to_send_again_holds)
{
    struct shard shard = {.resend_at_ms = 0};
    shard_resend_at(&shard, 500, false);
    shard_resend_at(&shard, 900, true);
    cr_assert(shard.resend_at_ms == 500 && shard.resend_pushes);
    shard_resend_at(&shard, 400, false);
    cr_assert(shard.resend_at_ms == 400 && shard.resend_pushes, "what was to be sent is not forgotten");
}

Test(client_pieces, a_busy_shard_is_left_alone_for_twice_as_long)
{
    static const uint64_t WAITS[] = {100, 200, 300, 300};
    struct plane plane;
    struct shard shard = {.lane_count = 1};
    plane_make(&plane);
    for (size_t i = 0; i < ARRAY_LEN(WAITS); i++) {
        shard_resend_later(&plane, &shard);
        cr_assert_eq(shard.busy_wait_ms, WAITS[i]);
        cr_assert(shard.resend_pushes && shard.resend_at_ms > 0);
    }
}

Test(client_pieces, only_much_is_asked_for_after_a_connection_is_lost)
{
    struct plane plane;
    struct range slices[SLICES] = {{0, 10}, {10, 10}, {20, 10}, {30, 100}};
    struct shard dense = {.first_slice = 3, .slice_count = 1};
    plane_make(&plane);
    plane.theta.slices = slices;
    plane.sent_count = 3;
    cr_assert_not(ask_first(&plane, &dense, false), "the server does not know the question");
    session.features = FRAME_FEATURE_ASK;
    cr_assert(ask_first(&plane, &dense, false));
    cr_assert_not(ask_first(&plane, &dense, true), "1200 bytes are sent again at once");
    plane.sent_count = 200;
    cr_assert(ask_first(&plane, &dense, true), "80 kB are not");
    cr_assert(ask_first(&plane, &shards[1], true), "nor rows");
}

Test(client_pieces, an_outage_is_seen_once)
{
    struct plane plane;
    plane_make(&plane);
    cr_assert_not(outage_is_over(&plane));
    atomic_store(&beat.outages, 1);
    cr_assert(outage_is_over(&plane));
    outage_forget(&plane);
    cr_assert_not(outage_is_over(&plane));
}
