/* Memory that a session shares with a shard: slabs that are read within their bounds and stay while they are read,
 * planes that come back, and answers that lie in a ring. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/base/util.h"
#include "server/shard/shm_session.h"
#include "tests/unit/support/leaks.h"

enum { PAGE = 4096, FLOATS = PAGE / sizeof(float), PLANES = 3 };

static struct shm_session *session_new(struct slice *slices, uint32_t count)
{
    struct shm_session *session = shm_session_new(slices, count);
    cr_assert_not_null(session);
    session->begun = true;
    return session;
}

/* A worker's slab whose floats count up from `first`. */
static struct shm slab_make(float first, size_t pages)
{
    struct shm slab;
    dp_error err;
    cr_assert_eq(shm_new(pages * PAGE, SHM_WRITERS, &slab, &err), DP_OK, "%s", err.text);
    for (size_t i = 0; i < pages * FLOATS; i++)
        ((float *)slab.base)[i] = first + (float)i;
    return slab;
}

static void pass(struct shm_session *session, uint32_t number, const struct shm *slab)
{
    dp_error err;
    cr_assert_eq(shm_session_slab(session, number, slab->fd, slab->bytes, &err), DP_OK, "%s", err.text);
}

Test(shm_session, a_payload_is_within_a_slab_that_was_passed)
{
    struct shm_session *session = session_new(NULL, 0);
    struct shm slab = slab_make(1, 1);
    struct blob payload = {0};
    pass(session, 7, &slab);
    cr_assert_not(shm_session_payload(session, 6, 0, 1, &payload), "another one");
    cr_assert_not(shm_session_payload(session, SHM_SLABS_MAX, 0, 1, &payload));
    cr_assert_not(shm_session_payload(session, UINT32_MAX, 0, 1, &payload));
    cr_assert_not(shm_session_payload(session, 7, 0, FLOATS + 1, &payload));
    cr_assert_not(shm_session_payload(session, 7, FLOATS, 1, &payload));
    cr_assert_not(shm_session_payload(session, 7, UINT64_MAX, 2, &payload), "the sum is 1");
    cr_assert_not(shm_session_payload(session, 7, 2, UINT64_MAX, &payload));
    cr_assert_null(payload.data);
    cr_assert(shm_session_payload(session, 7, 1, FLOATS - 1, &payload));
    cr_assert(shm_is_slab(&payload));
    cr_assert_eq(payload.bytes, (FLOATS - 1) * sizeof(float));
    cr_assert_eq(((const float *)payload.data)[0], 2.0F);
    blob_release(&payload);
    shm_fini(&slab);
    shm_session_free(&session);
    ASSERT_NO_LEAKS();
}

Test(shm_session, what_is_read_stays_whatever_becomes_of_the_session)
{
    struct shm_session *session = session_new(NULL, 0);
    struct shm one = slab_make(1, 1), two = slab_make(1000, 2);
    struct blob before, after;
    pass(session, 0, &one);
    cr_assert(shm_session_payload(session, 0, 0, FLOATS, &before));
    pass(session, 0, &two);
    cr_assert(shm_session_payload(session, 0, 0, 2 * FLOATS, &after));
    shm_fini(&one);
    shm_fini(&two);
    shm_session_free(&session);
    cr_assert_null(session);
    cr_assert_eq(((const float *)before.data)[FLOATS - 1], (float)FLOATS);
    cr_assert_eq(((const float *)after.data)[2 * FLOATS - 1], 1000.0F + 2 * FLOATS - 1);
    blob_release(&before);
    blob_release(&after);
    ASSERT_NO_LEAKS();
}

Test(shm_session, a_slab_smaller_than_is_said_is_not_taken)
{
    struct shm_session *session = session_new(NULL, 0);
    struct shm slab = slab_make(0, 1);
    struct blob payload;
    dp_error err;
    pass(session, 1, &slab);
    cr_assert_eq(shm_session_slab(session, 1, slab.fd, slab.bytes + 1, &err), DP_PROTO);
    cr_assert(shm_session_payload(session, 1, 0, FLOATS, &payload), "the one before is still there");
    blob_release(&payload);
    shm_fini(&slab);
    shm_session_free(&session);
    ASSERT_NO_LEAKS();
}

/* Sparse, as one that means harm makes it: it costs its worker nothing. */
static int vast_slab(uint64_t bytes)
{
    int fd = memfd_create("vast", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    cr_assert_geq(fd, 0);
    cr_assert_eq(ftruncate(fd, (off_t)bytes), 0);
    cr_assert_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    return fd;
}

/* A process can map 128 TiB: 32 are for slabs, a sixteenth of that for each session. */
Test(shm_session, slabs_leave_the_server_addresses)
{
    enum { SESSIONS = 16 };
    const uint64_t tib = UINT64_C(1) << 40;
    struct shm_session *sessions[SESSIONS + 1];
    struct shm small = slab_make(0, 1);
    dp_error err;
    int fd = vast_slab(tib);
    for (int i = 0; i <= SESSIONS; i++)
        sessions[i] = session_new(NULL, 0);
    for (int i = 0; i < SESSIONS; i++) {
        cr_assert_eq(shm_session_slab(sessions[i], 0, fd, tib, &err), DP_OK, "%d: %s", i, err.text);
        cr_assert_eq(shm_session_slab(sessions[i], 1, fd, tib, &err), DP_OK, "%d: %s", i, err.text);
        cr_assert_eq(shm_session_slab(sessions[i], 2, fd, tib, &err), DP_NOMEM);
        cr_assert(strstr(err.text, "has passed 2097152 MiB of slabs, 1048576 MiB more are too many"), "%s", err.text);
    }
    cr_assert_eq(shm_session_slab(sessions[SESSIONS], 0, fd, tib, &err), DP_NOMEM, "all of them");
    cr_assert(strstr(err.text, "all sessions"), "%s", err.text);
    shm_session_free(&sessions[0]);
    cr_assert_eq(shm_session_slab(sessions[SESSIONS], 0, fd, tib, &err), DP_OK, "%s", err.text);
    cr_assert_eq(shm_session_slab(sessions[SESSIONS], 0, fd, tib, &err), DP_OK, "in its own place: %s", err.text);
    pass(sessions[SESSIONS], 1, &small);
    for (int i = 1; i <= SESSIONS; i++)
        shm_session_free(&sessions[i]);
    shm_fini(&small);
    close(fd);
}

/* Linux gives a process 65530 mappings unless told otherwise: half of them are for slabs. */
Test(shm_session, slabs_leave_the_server_mappings, .timeout = 60)
{
    struct shm_session *sessions[1024];
    struct shm slab = slab_make(0, 1);
    unsigned most = 0, passed = 0, count = 0;
    dp_error err;
    FILE *file = fopen("/proc/sys/vm/max_map_count", "r");
    if (!file || fscanf(file, "%u", &most) != 1 || most > ARRAY_LEN(sessions) * SHM_SLABS_MAX)
        cr_skip_test("this machine gives more mappings than are made here");
    fclose(file);
    for (bool taken = true; taken && count < ARRAY_LEN(sessions);) {
        sessions[count] = session_new(NULL, 0);
        for (uint32_t k = 0; taken && k < SHM_SLABS_MAX; k++) {
            taken = shm_session_slab(sessions[count], k, slab.fd, slab.bytes, &err) == DP_OK;
            passed += taken;
        }
        count++;
    }
    cr_assert_eq(passed, most / 2);
    cr_assert(strstr(err.text, "all sessions"), "%s", err.text);
    while (count > 0)
        shm_session_free(&sessions[--count]);
    shm_fini(&slab);
}

/* A slice with versions in planes, nobody's at first. */
static struct slice slice_make(struct version *versions)
{
    for (uint32_t p = 0; p < PLANES; p++)
        versions[p] = (struct version){.plane = p, .number = p};
    return (struct slice){.versions.shared = versions};
}

static uint32_t refs(const struct version *version)
{
    return atomic_load(&version->refs);
}

Test(shm_session, a_version_is_lent_once_until_a_later_one_is_there)
{
    struct version versions[PLANES], own = {.plane = VERSION_UNSHARED};
    struct slice slice = slice_make(versions);
    struct shm_session *session = session_new(&slice, 1);
    cr_assert_not(shm_session_lend(session, 0, &own), "it is in no plane");
    cr_assert(shm_session_lend(session, 0, &versions[0]));
    cr_assert(shm_session_lend(session, 0, &versions[0]), "asked for again");
    cr_assert(shm_session_lend(session, 0, &versions[1]));
    cr_assert(refs(&versions[0]) == 1 && refs(&versions[1]) == 1);
    shm_session_returned(session, 0, 0);
    cr_assert(refs(&versions[0]) == 1 && refs(&versions[1]) == 1, "it has version 0 itself");
    shm_session_returned(session, 0, 1);
    cr_assert(refs(&versions[0]) == 0 && refs(&versions[1]) == 1);
    shm_session_returned(session, 0, 1);
    shm_session_free(&session);
    cr_assert(refs(&versions[0]) == 0 && refs(&versions[1]) == 0, "the session is over");
    ASSERT_NO_LEAKS();
}

/* One of several shards may have no memory to share; its worker hears of that after the others have welcomed it. */
Test(shm_session, nothing_is_lent_to_who_has_not_begun_to_read)
{
    struct version versions[PLANES];
    struct slice slice = slice_make(versions);
    struct shm_session *session = shm_session_new(&slice, 1);
    cr_assert_not_null(session);
    cr_assert_not(shm_session_lend(session, 0, &versions[0]));
    cr_assert_eq(refs(&versions[0]), 0);
    shm_session_free(&session);
    ASSERT_NO_LEAKS();
}

/* ---- rings ---- */

static struct shm_ring ring_make(uint64_t bytes)
{
    struct shm_ring none = {0}, ring;
    dp_error err;
    cr_assert_eq(shm_ring_next(&none, bytes, &ring, &err), DP_OK, "%s", err.text);
    cr_assert_eq(ring.number, 1);
    return ring;
}

Test(shm_session, answers_in_a_ring_do_not_overlap_until_they_are_taken)
{
    uint64_t at;
    struct shm_ring none = {0};
    cr_assert_null(shm_ring_take(&none, 4, &at));
    struct shm_ring ring = ring_make(1 << 20);
    const uint64_t room = ring.memory.bytes;
    uint64_t begin[4096], end[4096], first = 0, count = 0, seed = 1, taken = 0, refused = 0;
    for (int turn = 0; turn < 100000; turn++) {
        seed = seed * 6364136223846793005 + 1442695040888963407;
        uint64_t bytes = 4 + (seed >> 33) % (room / 3) / 4 * 4;
        float *values = shm_ring_take(&ring, bytes, &at);
        if (values) {
            cr_assert_eq((uintptr_t)values % 64, 0);
            cr_assert_eq((uint64_t)((char *)values - (char *)ring.memory.base), at % room);
            cr_assert_leq(at % room + bytes, room, "in one piece");
            cr_assert(count == first || at >= end[(count - 1) % 4096]);
            begin[count % 4096] = at;
            end[count % 4096] = at + bytes;
            count++;
            cr_assert_leq(at + bytes - begin[first % 4096], room, "what is not taken is not written");
        }
        refused += !values;
        if (!values || seed >> 62 == 0) {
            first += first < count;
            taken = first > 0 ? end[(first - 1) % 4096] : 0;
            shm_ring_taken(&ring, taken);
        }
    }
    cr_assert(count > 10000 && refused > 1000, "%ju answers, %ju refused", (uintmax_t)count, (uintmax_t)refused);
    shm_ring_taken(&ring, UINT64_MAX);
    cr_assert_eq(ring.tail, ring.head, "no more is taken than there is");
    cr_assert_not_null(shm_ring_take(&ring, room, &at), "all of an empty one");
    cr_assert_null(shm_ring_take(&ring, 4, &at));
    shm_ring_taken(&ring, 0);
    cr_assert_null(shm_ring_take(&ring, 4, &at), "what was taken once stays so, and nothing more");
    shm_ring_fini(&ring);
}

Test(shm_session, a_ring_grows_within_bounds_and_positions_go_on)
{
    struct shm_ring ring = ring_make(4), next;
    dp_error err;
    uint64_t at, before;
    cr_assert_not_null(shm_ring_take(&ring, 1000, &before));
    cr_assert_eq(shm_ring_next(&ring, 100000, &next, &err), DP_OK, "%s", err.text);
    cr_assert(next.number == 2 && next.memory.bytes > ring.memory.bytes);
    shm_ring_fini(&ring);
    cr_assert_not_null(shm_ring_take(&next, 100000, &at));
    cr_assert_geq(at, before + 1000);
    shm_ring_taken(&next, before + 1000);
    cr_assert_eq(next.tail, at, "taken of the one before");
    cr_assert_eq(shm_ring_next(&next, 1 << 30, &ring, &err), DP_RANGE);
    next.number = SHM_RINGS_MAX;
    cr_assert_eq(shm_ring_next(&next, 4, &ring, &err), DP_RANGE);
    shm_ring_fini(&next);
}
