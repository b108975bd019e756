/* A client that waits, without a network: whether the head is alive, and rejoins in a row. */
#include <criterion/criterion.h>

#include "common/base/clock.h"
#include "worker/client/session.h"
#include "worker/client/state.h"
#include "worker/client/wait.h"

Test(client_wait, a_head_that_was_heard_of_lately_is_alive)
{
    struct dp_client client = {0};
    uint64_t now_ms = mono_ms();
    client.session.heartbeat_ms = 500;
    client.wait.awake_ms = client.wait.awake_since_ms = now_ms; /* nothing was heard, but we have just woken up */
    cr_assert(wait_head_alive(&client));
    client.head.link.lost = true;
    cr_assert_not(wait_head_alive(&client));
    client.head.link.lost = false;
    client.session.heartbeat_ms = 0;
    client.wait.awake_since_ms = now_ms > 600000 ? now_ms - 600000 : 0;
    client.session.heard_ms = client.wait.awake_since_ms;
    cr_assert(now_ms < 4000 || !wait_head_alive(&client), "awake for ten minutes, and nothing came");
    atomic_store(&client.beat.heard_ms, now_ms);
    cr_assert(wait_head_alive(&client), "an answer to a heartbeat will do");
}

Test(client_wait, progress_ends_a_row_of_rejoins)
{
    struct rejoin rejoin = {.begin_ms = 5, .wait_ms = 400, .held_ms = 9};
    rejoin_ends(&rejoin);
    cr_assert(rejoin.wait_ms == 0 && rejoin.held_ms == 9);
}
