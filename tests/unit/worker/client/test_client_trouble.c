/* A client with servers that are absent, wrong, silent or gone, and with users who call in the wrong order: each call
 * ends in time, with an error that says why. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <math.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "common/net/secret.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/mini_client.h"
#include "worker/client/contact/proof.h"

Test(client_trouble, a_silent_server_is_unreachable_after_the_timeout)
{
    struct mini *mini = mini_run(4, false);
    dp_client *client = join_to(mini);
    dp_error err;
    client->config.server_timeout_ms = 5000;
    dp_task task = task_next(client);
    atomic_store(&mini->opts.mute, 1);
    push_task(client, &task);
    uint64_t begin = mono_ms();
    cr_assert_eq(dp_next(client, &task, &err), DP_UNREACHABLE);
    cr_assert_geq(mono_ms() - begin, 4000, "it counts from what came last");
    cr_assert_lt(mono_ms() - begin, 30000);
    const char *silent = strstr(err.text, "has not been heard of for ");
    unsigned silent_s = 0;
    cr_assert(silent && sscanf(silent, "has not been heard of for %u s", &silent_s) == 1, "%s", err.text);
    cr_assert_geq(silent_s, 5);
    cr_assert(noticed("has been silent for 3 s") || noticed("has been silent for 4 s"));
    mini_leave(&mini, &client, &err);
}

Test(client_trouble, a_server_that_is_gone_is_unreachable_after_the_timeout)
{
    struct mini *mini = mini_run(4, false);
    dp_client *client = join_to(mini);
    dp_error err;
    client->config.server_timeout_ms = 3000;
    client->timing.notice = 200;
    dp_task task = task_next(client);
    mini_free(&mini);
    push_task(client, &task);
    uint64_t begin = mono_ms();
    cr_assert_eq(dp_next(client, &task, &err), DP_UNREACHABLE);
    cr_assert_lt(mono_ms() - begin, 30000);
    cr_assert_not_null(strstr(err.text, "connection refused"), "%s", err.text);
    cr_assert(noticed("lost the session"));
    cr_assert_eq(dp_next(client, &task, &err), DP_UNREACHABLE, "and again, if somebody asks");
    dp_leave(&client, err.code, err.text);
    ASSERT_NO_LEAKS();
}

/* The deadline is for sessions that do not hold: one that held for long before it was lost begins a row of its own. */
Test(client_trouble, a_session_lost_long_after_another_is_taken_up_again)
{
    struct mini *mini = mini_run(4, false);
    dp_client *client = join_to(mini);
    dp_error err;
    cr_assert_eq(session_rejoin(client, &err), DP_OK, "%s", err.text);
    client->rejoin.begin_ms -= client->config.server_timeout_ms;
    client->rejoin.held_ms -= client->config.server_timeout_ms;
    cr_assert_eq(session_rejoin(client, &err), DP_OK, "%s", err.text);
    client->rejoin.begin_ms -= client->config.server_timeout_ms;
    cr_assert_eq(session_rejoin(client, &err), DP_UNREACHABLE, "this one did not hold");
    cr_assert_not_null(strstr(err.text, "does not keep our session"), "%s", err.text);
    expect_job(mini, client, 4);
    mini_end(&mini);
}

Test(client_trouble, what_people_are_told_when_a_step_takes_long)
{
    struct mini *mini = mini_new(1, false);
    atomic_store(&mini->opts.first_slots, 0x0f);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task = task_next(client);
    push_task(client, &task);
    dp_error err = stopped_waiting(client, 50);
    cr_assert(noticed("waiting for step 1 since "));
    cr_assert(noticed(" s: 6 of 6 pieces have not come from tcp://127.0.0.1:"));
    cr_assert_eq(dp_next(client, &task, &err), DP_STOPPED);
    dp_leave(&client, err.code, err.text);
    while (atomic_load(&mini->bye) < 0)
        ;
    cr_assert_eq(atomic_load(&mini->bye), DP_STOPPED);
    mini_end(&mini);
}

Test(client_trouble, notices_of_the_server_end_the_job)
{
    static const dp_err CODES[] = {DP_SHUTDOWN, DP_JOB_DONE};
    for (size_t i = 0; i < ARRAY_LEN(CODES); i++) {
        struct mini *mini = mini_new(1, false);
        atomic_store(&mini->opts.first_slots, 0);
        mini_start(mini);
        dp_client *client = join_to(mini);
        dp_task task;
        dp_error err;
        atomic_store(&mini->opts.notice, (int)CODES[i]);
        cr_assert_eq(dp_next(client, &task, &err), CODES[i]);
        cr_assert_str_eq(err.text, "maintenance tonight");
        cr_assert_not(dp_task_wanted(client));
        dp_leave(&client, err.code, err.text);
        mini_free(&mini);
    }
    ASSERT_NO_LEAKS();
}

Test(client_trouble, a_step_that_others_completed_is_not_wanted)
{
    struct mini *mini = mini_run(9, false);
    dp_client *client = join_to(mini);
    dp_task task = task_next(client);
    cr_assert(dp_task_wanted(client));
    atomic_store(&mini->opts.start_step, 5);
    atomic_store(&mini->opts.low, 5);
    while (dp_task_wanted(client))
        ;
    cr_assert_eq(task.step, 0);
    /* The mini server itself is still at step 0: it parks the pull for step 5. */
    dp_error err = stopped_waiting(client, 1);
    cr_assert_eq(client->plane.theta.want, 5);
    push_slot(client, &task, 0); /* too late, and no harm */
    mini_leave(&mini, &client, &err);
}

/* Slots given for a step that has become complete are not handed out again and again while its answer is awaited. */
Test(client_trouble, a_complete_step_is_waited_out)
{
    struct mini *mini = mini_new(9, false);
    atomic_store(&mini->opts.first_slots, 0x0f);
    atomic_store(&mini->opts.extra_slots, 0xf0);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_task task = task_next(client);
    atomic_store(&mini->opts.low, 5);
    while (dp_task_wanted(client))
        ;
    push_task(client, &task);
    dp_error err = stopped_waiting(client, 50);
    mini_leave(&mini, &client, &err);
}

/* Sees to it that this user has a secret, as a server does. */
static void have_secret(void)
{
    struct secret secret;
    dp_error err;
    cr_assert_eq(secret_load(NULL, true, &secret, &err), DP_OK, "%s", err.text);
}

/* A server that challenges `hellos` of them. */
static struct mini *mini_challenging(int hellos)
{
    have_secret();
    struct mini *mini = mini_new(4, false);
    atomic_store(&mini->opts.challenges, hellos);
    mini_start(mini);
    return mini;
}

/* Why it refuses a client with this configuration. */
static dp_error refusal(const dp_config *config)
{
    dp_client *client = NULL;
    dp_error err;
    cr_assert_eq(dp_connect(config, &client, &err), DP_REFUSED);
    return err;
}

Test(client_trouble, a_server_that_asks_is_told_whose_we_are)
{
    struct mini *mini = mini_challenging(2); /* the first was waited with for too long, say */
    uint64_t begin = mono_ms();
    dp_client *client = join_to(mini);
    cr_assert_lt(mono_ms() - begin, 1900, "a challenge is answered at once");
    cr_assert_eq(atomic_load(&mini->proofs), 2);
    dp_leave(&client, DP_OK, NULL);
    mini_end(&mini);
}

Test(client_trouble, a_server_that_asks_for_ever_is_given_up)
{
    struct mini *mini = mini_challenging(1000000);
    dp_config config = config_for(mini->endpoint);
    config.connect_timeout_ms = 3600000;
    const dp_error err = refusal(&config);
    cr_assert_str_eq(err.text, "mini says REFUSED");
    cr_assert_eq(atomic_load(&mini->proofs), CLIENT_PROOFS_MAX);
    mini_end(&mini);
}

/* The server hears of it all the same, for its log. */
Test(client_trouble, a_client_without_a_secret_says_where_it_looked)
{
    struct mini *mini = mini_challenging(1000000);
    dp_config config = config_for(mini->endpoint);
    config.secret_file = "/no/such/secret";
    const dp_error err = refusal(&config);
    cr_assert_not_null(strstr(err.text, "/no/such/secret: there is no secret"), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "mini says REFUSED"), "%s", err.text);
    cr_assert_eq(atomic_load(&mini->proofs), 0);
    mini_end(&mini);
}

Test(client_trouble, a_refused_join_says_why)
{
    struct mini *mini = mini_new(1, false);
    atomic_store(&mini->opts.refuse_join, 1);
    mini_start(mini);
    dp_client *client = connect_to(mini);
    dp_error err;
    dp_task task;
    cr_assert_str_eq(dp_client_job(client)->model, "mini");
    cr_assert_eq(dp_client_job(client)->tensor_count, 0);
    cr_assert_eq(dp_next(client, &task, &err), DP_USAGE);
    cr_assert_null(dp_gradient(client, &err));
    cr_assert_eq(dp_join(client, &MINI_DATA, NULL, &MINI_MODEL, &err), DP_REFUSED);
    cr_assert_str_eq(err.text, "mini says REFUSED");
    mini_leave(&mini, &client, &err);
}

Test(client_trouble, wrong_use_is_told)
{
    struct mini *mini = mini_run(1, false);
    dp_client *client = join_to(mini);
    dp_error err;
    dp_task task;
    dp_metrics metrics = {.count = 1};
    float foreign[1];
    const dp_job *job = dp_client_job(client);
    cr_assert_eq(job->tensor_count, 1);
    cr_assert_str_eq(job->tensors[0].name, "weight");
    cr_assert_eq(job->theta_elems, ELEMS);
    cr_assert_eq(job->labels[1], 1);
    cr_assert_eq(dp_join(client, &MINI_DATA, NULL, &MINI_MODEL, &err), DP_USAGE);
    cr_assert_eq(dp_push(client, 0, dp_gradient(client, &err), &metrics, &err), DP_USAGE, "no task yet");
    cr_assert_eq(dp_slot_rows(client, 0, NULL, 0), 0);
    cr_assert_eq(dp_next(client, &task, &err), DP_OK);
    cr_assert_eq(dp_push(client, 0, foreign, &metrics, &err), DP_USAGE);
    cr_assert_eq(dp_push(client, 0, NULL, &metrics, &err), DP_USAGE);
    cr_assert_eq(dp_push(client, 8, dp_gradient(client, &err), &metrics, &err), DP_RANGE);
    cr_assert_eq(dp_push(client, 0, dp_gradient(client, &err), NULL, &err), DP_USAGE);
    static const dp_metrics WRONG[] = {{.count = UINT64_MAX},
                                       {.count = (UINT64_C(1) << 40) + 1},
                                       {.count = 1, .correct = 2},
                                       {.loss = 1},
                                       {.loss = NAN}};
    for (size_t i = 0; i < ARRAY_LEN(WRONG); i++)
        cr_assert_eq(dp_push(client, 0, dp_gradient(client, &err), &WRONG[i], &err), DP_USAGE, "%zu", i);
    cr_assert_str_eq(err.text, "slot 0: a loss of no samples");
    dp_gradient_free(client, dp_gradient(client, &err));
    dp_gradient_free(client, NULL);
    dp_leave(&client, DP_DATA, "row 5 is\tbad");
    dp_leave(&client, DP_OK, NULL);
    dp_leave(NULL, DP_OK, NULL);
    while (atomic_load(&mini->bye) < 0)
        ;
    cr_assert_eq(atomic_load(&mini->bye), DP_DATA);
    mini_end(&mini);
}

/* No server would answer these. */
Test(client_trouble, what_no_server_takes_is_not_sent)
{
    static const uint64_t empty[] = {0};
    static const double twice[] = {1, 1};
    const dp_tensor bad = {.name = "weight", .rank = 1, .shape = empty};
    const dp_model shapeless = {.tensors = &bad, .tensor_count = 1}, none = {0};
    static const char *const hole[] = {"no", "nan"}, *const broken[] = {"no", "a\nb"}, *const words[] = {"no", "yes"};
    dp_dataset labels = MINI_DATA;
    labels.labels = twice;
    dp_model named = MINI_MODEL;
    struct mini *mini = mini_run(1, false);
    dp_client *client = connect_to(mini);
    dp_error err;
    cr_assert_eq(dp_join(client, &MINI_DATA, NULL, &none, &err), DP_USAGE);
    cr_assert_eq(dp_join(client, &MINI_DATA, NULL, &shapeless, &err), DP_USAGE);
    cr_assert_not_null(strstr(err.text, "tensor weight has an impossible shape"), "%s", err.text);
    cr_assert_eq(dp_join(client, &labels, NULL, &MINI_MODEL, &err), DP_USAGE);
    cr_assert_eq(dp_join(client, NULL, NULL, &MINI_MODEL, &err), DP_USAGE);
    named.label_texts = hole;
    cr_assert_eq(dp_join(client, &MINI_DATA, NULL, &named, &err), DP_USAGE);
    cr_assert_str_eq(err.text, "the model's labels: 'nan' stands for a missing value and is no label; leave it out");
    named.label_texts = broken;
    cr_assert_eq(dp_join(client, &MINI_DATA, NULL, &named, &err), DP_USAGE);
    named.label_texts = words;
    cr_assert_eq(dp_join(client, &MINI_DATA, NULL, &named, &err), DP_OK, "%s", err.text);
    dp_leave(&client, DP_OK, NULL);
    mini_end(&mini);
}

Test(client_trouble, parameters_of_a_wrong_size_end_the_job)
{
    struct mini *mini = mini_new(1, false);
    atomic_store(&mini->opts.wrong_size, 1);
    mini_start(mini);
    dp_client *client = join_to(mini);
    dp_error err;
    dp_task task;
    cr_assert_eq(dp_next(client, &task, &err), DP_PROTO);
    cr_assert_not_null(strstr(err.text, "have 144 bytes, the slice has 148"), "%s", err.text);
    mini_leave(&mini, &client, &err);
}

/* A port on which nobody listens, or a listener that never answers. */
static int plain_socket(bool listening, char *endpoint, size_t size)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof addr;
    cr_assert_eq(bind(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&addr, &length), 0);
    if (listening)
        cr_assert_eq(listen(fd, 8), 0);
    snprintf(endpoint, size, "tcp://127.0.0.1:%u", ntohs(addr.sin_port));
    return fd;
}

static void expect_unreachable(const char *server, uint64_t timeout_ms, const char *part)
{
    dp_config config = config_for(server);
    dp_client *client = NULL;
    dp_error err;
    config.connect_timeout_ms = timeout_ms;
    uint64_t begin = mono_ms();
    cr_assert_eq(dp_connect(&config, &client, &err), DP_UNREACHABLE);
    cr_assert_null(client);
    cr_assert_geq(mono_ms() - begin, timeout_ms);
    cr_assert_lt(mono_ms() - begin, timeout_ms + 20000);
    cr_assert_not_null(strstr(err.text, part), "%s", err.text);
    cr_assert_not_null(strstr(err.text, server), "%s", err.text);
}

Test(client_trouble, an_absent_server_is_tried_until_the_deadline)
{
    char endpoint[64];
    int fd = plain_socket(false, endpoint, sizeof endpoint);
    expect_unreachable(endpoint, 1400, "; is dp-server running there?");
    cr_assert_eq(notice_count(), 1);
    cr_assert(noticed("(connection refused), trying for another 1 s"));
    close(fd);
    ASSERT_NO_LEAKS();
}

Test(client_trouble, a_port_of_something_else_is_told_apart)
{
    char endpoint[64];
    int fd = plain_socket(true, endpoint, sizeof endpoint);
    expect_unreachable(endpoint, 700, "nothing there answers as dp-server");
    close(fd);
    ASSERT_NO_LEAKS();
}

Test(client_trouble, a_host_that_does_not_resolve)
{
    expect_unreachable("tcp://no-such-host.invalid:7700", 300, "cannot reach");
    ASSERT_NO_LEAKS();
}

Test(client_trouble, a_server_that_comes_later_is_found)
{
    struct mini *mini = mini_run(1, false);
    dp_config config = config_for(mini->endpoint);
    atomic_store(&mini->opts.mute, 1);
    dp_client *client = NULL;
    dp_error err;
    config.connect_timeout_ms = 200;
    cr_assert_eq(dp_connect(&config, &client, &err), DP_UNREACHABLE);
    atomic_store(&mini->opts.mute, 0);
    expect_job(mini, join_to(mini), 1);
    mini_end(&mini);
}

Test(client_trouble, a_bad_endpoint_is_a_usage_error)
{
    static const char *const BAD[] = {"",
                                      "localhost:7700",
                                      "tcp://",
                                      "tcp://host",
                                      "tcp://:7700",
                                      "tcp://host:0",
                                      "tcp://host:70000",
                                      "tcp://host:x",
                                      "tcp://*:7700",
                                      "ipc://",
                                      "ipc://@",
                                      "udp://h:1",
                                      "tcp://::1:7700",
                                      "tcp://[::1",
                                      "tcp://a b:1"};
    dp_config config = {0};
    dp_client *client = NULL;
    dp_error err;
    cr_assert_eq(dp_connect(&config, &client, &err), DP_USAGE);
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        config.server = BAD[i];
        cr_assert_eq(dp_connect(&config, &client, &err), DP_USAGE, "%s", BAD[i]);
        cr_assert_not_null(strstr(err.text, "tcp://HOST:PORT"), "%s", err.text);
    }
    cr_assert_eq(dp_connect(&config, &client, NULL), DP_USAGE);
    ASSERT_NO_LEAKS();
}
