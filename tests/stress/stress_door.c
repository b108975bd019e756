/* Two shards' doors on threads of their own: guests of one come and go while the other makes and closes shared memory,
 * as rings for rows are. A descriptor that is touched after it was closed is one of the other thread's by then. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/net/shm.h"
#include "server/net/shm_door.h"
#include "tests/stress/stress.h"

enum { ROUNDS = 400, GUESTS = 8 };

static atomic_bool over;
/* Closed when both threads have ended: libuv closes by a bare system call, and ThreadSanitizer, which knows neither
 * that nor memfd_create, would take the numbers of the loop's descriptors for the same ones when they are used again.
 */
static uv_loop_t loop;

static bool on_hello(void *arg, const struct shm_message *message, struct shm_message *answer, int *ret_fd,
                     dp_error *err)
{
    (void)message, (void)answer, (void)ret_fd, (void)err;
    *(unsigned *)arg += 1;
    return true;
}

static void on_begin(void *arg, uint64_t session)
{
    (void)arg, (void)session;
}

static dp_err on_slab(void *arg, uint64_t session, const struct shm_message *message, int fd, dp_error *err)
{
    (void)arg, (void)session, (void)message, (void)fd;
    return dp_fail(err, DP_PROTO, "no");
}

static void on_malformed(void *arg, const dp_error *err)
{
    (void)arg, (void)err;
}

/* A guest of each session is welcomed, and dismissed as at its fence. */
static void round_of_guests(struct shm_door *door, unsigned *heard)
{
    int guests[GUESTS];
    unsigned until = *heard + GUESTS;
    dp_error err;
    for (uint64_t i = 0; i < GUESTS; i++) {
        struct shm_message hello = {.kind = SHM_HELLO, .session = i + 1, .incarnation = 1};
        MUST(shm_connect(door->entry.name, &guests[i], &err) == DP_OK, "%s", err.text);
        MUST(shm_send(guests[i], &hello, -1) == DP_OK, "no hello");
    }
    while (*heard < until)
        uv_run(&loop, UV_RUN_ONCE);
    for (uint64_t i = 0; i < GUESTS; i++)
        shm_door_dismiss(door, i + 1);
    uv_run(&loop, UV_RUN_NOWAIT);
    for (int i = 0; i < GUESTS; i++)
        close(guests[i]);
}

static void *shard_of_guests(void *arg)
{
    struct shm_door door;
    char name[SHM_NAME_MAX];
    unsigned heard = 0;
    dp_error err;
    const struct shm_calls calls = {on_hello, on_begin, on_slab, on_malformed, &heard};
    (void)arg;
    snprintf(name, sizeof name, "dp-stress-door-%d", (int)getpid());
    MUST(shm_door_open(&door, &loop, name, &calls, &err) == DP_OK, "%s", err.text);
    for (int i = 0; i < ROUNDS; i++)
        round_of_guests(&door, &heard);
    shm_door_close(&door);
    uv_run(&loop, UV_RUN_DEFAULT);
    atomic_store(&over, true);
    return NULL;
}

static void *shard_of_rings(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        struct shm memory[GUESTS];
        dp_error err;
        for (int i = 0; i < GUESTS; i++)
            MUST(shm_new(1, SHM_READERS, &memory[i], &err) == DP_OK, "%s", err.text);
        for (int i = 0; i < GUESTS; i++) {
            shm_close(&memory[i]);
            shm_fini(&memory[i]);
        }
    }
    return NULL;
}

int main(void)
{
    pthread_t guests, rings;
    MUST(uv_loop_init(&loop) == 0, "no loop");
    MUST(pthread_create(&guests, NULL, shard_of_guests, NULL) == 0, "no thread");
    MUST(pthread_create(&rings, NULL, shard_of_rings, NULL) == 0, "no thread");
    pthread_join(guests, NULL);
    pthread_join(rings, NULL);
    uv_loop_close(&loop);
    PASS("door");
}
