/* Parts of the client that need no server: theta in assembly, slabs, endpoints, descriptions of jobs. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "common/net/endpoint.h"
#include "tests/unit/support/leaks.h"
#include "worker/client/state/layout.h"
#include "worker/client/state/slab.h"
#include "worker/client/state/theta.h"

enum { SLICES = 3, SLICE_ELEMS = 4 };

static struct theta theta_new(void)
{
    struct theta theta;
    struct range *slices = mem_array(SLICES, sizeof *slices);
    dp_error err;
    for (uint64_t i = 0; i < SLICES; i++)
        slices[i] = (struct range){i * SLICE_ELEMS, SLICE_ELEMS};
    cr_assert_eq(theta_init(&theta, slices, SLICES, 0, &err), DP_OK);
    return theta;
}

static dp_err take(struct theta *theta, uint32_t slice, uint64_t step, uint64_t version, float value, bool *ret_new)
{
    float values[SLICE_ELEMS] = {value, value, value, value};
    dp_error err;
    return theta_take(theta,
                      &(struct theta_answer){.slice = slice,
                                             .step = step,
                                             .version = version,
                                             .unchanged = value < 0,
                                             .values = values,
                                             .bytes = sizeof values},
                      ret_new, &err);
}

static void take_all(struct theta *theta, uint64_t step, uint64_t version, float value)
{
    bool is_new;
    for (uint32_t i = 0; i < SLICES; i++) {
        cr_assert_not(theta_whole(theta));
        cr_assert_eq(take(theta, i, step, version, value, &is_new), DP_OK);
        cr_assert(is_new);
    }
    cr_assert(theta_whole(theta));
    theta_turn(theta);
    cr_assert_eq(theta->step, step);
}

Test(theta, the_old_one_stays_until_the_new_one_is_whole)
{
    struct theta theta = theta_new();
    bool is_new;
    take_all(&theta, 0, 0, 10);
    const float *old = theta.now;
    cr_assert_eq(take(&theta, 1, 1, 1, 20, &is_new), DP_OK);
    cr_assert_eq(take(&theta, 1, 1, 1, 30, &is_new), DP_OK);
    cr_assert_not(is_new, "a second answer changes nothing");
    cr_assert_eq(take(&theta, 0, 2, 2, 40, &is_new), DP_OK);
    cr_assert_not(is_new, "nor does one for another step");
    for (size_t i = 0; i < (size_t)SLICES * SLICE_ELEMS; i++)
        cr_assert_eq(old[i], 10);
    cr_assert_eq(take(&theta, 0, 1, 1, 20, &is_new), DP_OK);
    cr_assert_eq(take(&theta, 2, 1, 0, -1, &is_new), DP_OK);
    theta_turn(&theta);
    cr_assert_eq(theta.now[0], 20);
    cr_assert_eq(theta.now[2 * SLICE_ELEMS], 10, "what is unchanged is copied");
    cr_assert_eq(theta.now_have[1], 2);
    cr_assert_eq(theta.now_have[2], 1);
    theta_fini(&theta);
    ASSERT_NO_LEAKS();
}

Test(theta, nothing_is_copied_where_all_is_unchanged)
{
    struct theta theta = theta_new();
    take_all(&theta, 0, 0, 10);
    const float *now = theta.now;
    take_all(&theta, 1, 0, -1);
    cr_assert_eq(theta.now, now);
    cr_assert_eq(theta.want, 2);
    theta_forget(&theta);
    bool is_new;
    cr_assert_eq(take(&theta, 0, 0, 0, -1, &is_new), DP_PROTO, "versions of another incarnation are no versions");
    theta_fini(&theta);
    ASSERT_NO_LEAKS();
}

Test(theta, what_does_not_fit_is_refused)
{
    struct theta theta = theta_new();
    dp_error err;
    bool is_new;
    float values[SLICE_ELEMS] = {0};
    cr_assert_eq(take(&theta, SLICES, 0, 0, 1, &is_new), DP_PROTO);
    cr_assert_eq(take(&theta, 0, 0, 0, -1, &is_new), DP_PROTO);
    struct theta_answer answer = {.values = values, .bytes = sizeof values - 1};
    cr_assert_eq(theta_take(&theta, &answer, &is_new, &err), DP_PROTO);
    answer.bytes = sizeof values + 4;
    cr_assert_eq(theta_take(&theta, &answer, &is_new, &err), DP_PROTO);
    cr_assert_not(is_new);
    theta_fini(&theta);
    ASSERT_NO_LEAKS();
}

Test(theta, a_job_ends_when_all_slices_say_so)
{
    struct theta theta = theta_new();
    dp_error err;
    bool is_new;
    for (uint32_t i = 0; i < SLICES; i++) {
        cr_assert_not(theta_ended(&theta));
        cr_assert_eq(theta_take(&theta, &(struct theta_answer){.slice = i, .last = true}, &is_new, &err), DP_OK);
    }
    cr_assert(theta_ended(&theta));
    cr_assert_not(theta_whole(&theta));
    theta_fini(&theta);
    ASSERT_NO_LEAKS();
}

Test(slab, one_is_free_when_nobody_holds_it)
{
    struct slab_pool pool = {0};
    struct slab *a = slab_take(&pool, 100), *b = slab_take(&pool, 100);
    float foreign;
    cr_assert_neq(a, b);
    cr_assert_eq(slab_find(&pool, a->values), a);
    cr_assert_null(slab_find(&pool, &foreign));
    slab_keep(a);
    slab_drop(a);
    cr_assert_neq(slab_take(&pool, 100), a);
    slab_drop_message(a->values, a);
    cr_assert_null(slab_find(&pool, a->values), "nobody's");
    cr_assert_eq(slab_take(&pool, 100), a);
    slab_pool_fini(&pool);
    ASSERT_NO_LEAKS();
}

/* Rows differ from step to step, and so does what a gradient takes. */
Test(slab, a_free_one_grows)
{
    struct slab_pool pool = {0};
    struct slab *a = slab_take(&pool, 100);
    slab_drop(a);
    cr_assert_eq(slab_take(&pool, 1000), a);
    cr_assert_geq(a->room, 1000);
    a->values[999] = 1;
    slab_drop(a);
    cr_assert_eq(slab_take(&pool, 10), a);
    slab_pool_fini(&pool);
    ASSERT_NO_LEAKS();
}

Test(endpoint, names_and_addresses)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
    } CASES[] = {{"tcp://localhost:7700", "localhost", 7700},
                 {"tcp://10.0.0.1:1", "10.0.0.1", 1},
                 {"tcp://[::1]:65535", "::1", 65535},
                 {"tcp://[fe80::1%eth0]:80", "fe80::1%eth0", 80},
                 {"ipc:///run/dp", "/run/dp", 0},
                 {"ipc://@dp", "@dp", 0}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct endpoint endpoint;
        dp_error err;
        char text[ENDPOINT_TEXT_MAX];
        cr_assert_eq(endpoint_parse(CASES[i].text, &endpoint, &err), DP_OK, "%s", err.text);
        cr_assert_str_eq(endpoint.host, CASES[i].host);
        cr_assert_eq(endpoint.port, CASES[i].port);
        endpoint_text(&endpoint, text);
        cr_assert_str_eq(text, CASES[i].text);
    }
}

Test(endpoint, a_shard_on_any_address_is_where_the_head_is)
{
    static const struct {
        const char *text, *host;
    } CASES[] = {{"tcp://*:7701", "10.1.2.3"},
                 {"tcp://0.0.0.0:7701", "10.1.2.3"},
                 {"tcp://[::]:7701", "10.1.2.3"},
                 {"tcp://node7:7701", "node7"}};
    struct endpoint endpoint;
    dp_error err;
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        cr_assert_eq(endpoint_parse_shard(CASES[i].text, "10.1.2.3", &endpoint, &err), DP_OK);
        cr_assert_str_eq(endpoint.host, CASES[i].host);
    }
    cr_assert_eq(endpoint_parse_shard("ipc://@dp-1", "h", &endpoint, &err), DP_OK);
    cr_assert_str_eq(endpoint.host, "@dp-1");
    cr_assert_eq(endpoint_parse_shard("ipc://", "h", &endpoint, &err), DP_PROTO);
    cr_assert_eq(endpoint_parse_shard("tcp://*:0", "h", &endpoint, &err), DP_PROTO);
}

static uint64_t shape[] = {4, 3};
static double labels[] = {0, 1};
static Dp__Tensor tensor;
static Dp__Tensor *tensor_list[] = {&tensor};

static struct client_job job_new(uint64_t batch, const char *name, uint64_t rows)
{
    Dp__Job msg = DP__JOB__INIT;
    struct client_job job;
    dp_error err;
    dp__tensor__init(&tensor);
    tensor.name = (char *)name;
    tensor.n_shape = ARRAY_LEN(shape);
    tensor.shape = shape;
    msg.model = "softmax";
    msg.batch = batch;
    msg.slots = 8;
    msg.train_rows = rows;
    msg.train_steps = 5;
    msg.n_tensors = 1;
    msg.tensors = tensor_list;
    msg.n_labels = ARRAY_LEN(labels);
    msg.labels = labels;
    cr_assert_eq(client_job_take(&msg, &job, &err), DP_OK, "%s", err.text);
    return job;
}

static void expect_differ(const struct client_job *was, struct client_job now, const char *part)
{
    dp_error err = {0};
    dp_err e = client_job_same(was, &now, &err);
    cr_assert_eq(e, part ? DP_REFUSED : DP_OK, "%s", err.text);
    if (part)
        cr_assert_not_null(strstr(err.text, part), "%s", err.text);
    client_job_fini(&now);
}

/* Labels asked for differ from those settled; texts are there for all labels, numbers if they are numbers. */
Test(job, labels_as_asked_and_as_settled)
{
    Dp__Job msg = DP__JOB__INIT;
    struct client_job job;
    dp_error err;
    msg.model = "softmax";
    msg.slots = 1;
    msg.classes = 3;
    msg.classes_asked = 4;
    msg.n_label_texts = 3;
    msg.label_texts = (char *[]){"+1", "no", "yes"};
    msg.n_labels_asked = 2;
    msg.labels_asked = (char *[]){"7", "no"};
    cr_assert_eq(client_job_take(&msg, &job, &err), DP_OK, "%s", err.text);
    const dp_job *view = &job.view;
    cr_assert(view->classes == 3 && view->classes_asked == 4 && view->label_count == 3);
    cr_assert(view->labels[0] == 1 && isnan(view->labels[1]) && isnan(view->labels[2]));
    cr_assert_str_eq(view->label_texts[0], "+1");
    cr_assert_str_eq(view->label_texts[2], "yes");
    cr_assert_eq(view->labels_asked_count, 2);
    cr_assert_str_eq(view->labels_asked[1], "no");
    client_job_fini(&job);
    msg.labels_asked = (char *[]){"7", "inf"};
    cr_assert_eq(client_job_take(&msg, &job, &err), DP_PROTO);
    msg.n_labels_asked = msg.n_label_texts = 0;
    msg.n_labels = 2;
    msg.labels = (double[]){0.1, 16777217};
    cr_assert_eq(client_job_take(&msg, &job, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(job.view.label_texts[0], "0.1");
    cr_assert_str_eq(job.view.label_texts[1], "16777217");
    client_job_fini(&job);
    ASSERT_NO_LEAKS();
}

Test(job, what_differs_is_named)
{
    struct client_job job = job_new(10, "weight", 100);
    cr_assert_eq(job.view.theta_elems, 12);
    cr_assert_eq(job.steps, 5);
    expect_differ(&job, job_new(10, "weight", 100), NULL);
    expect_differ(&job, job_new(11, "weight", 100), "batch is 11, was 10");
    expect_differ(&job, job_new(10, "weight", 101), "rows is 101, was 100");
    expect_differ(&job, job_new(10, "bias", 100), "tensor weight is not what it was");
    struct client_job other = job_new(10, "weight", 100);
    other.view.local_rows = 3;
    expect_differ(&job, other, "minibatch is 3, was 0");
    other = job_new(10, "weight", 100);
    ((dp_tensor *)other.view.tensors)[0].init_arg = 1;
    expect_differ(&job, other, "tensor weight is not what it was");
    other = job_new(10, "weight", 100);
    ((dp_tensor *)other.view.tensors)[0].init = DP_INIT_NORMAL;
    expect_differ(&job, other, "tensor weight is not what it was");
    other = job_new(10, "weight", 100);
    other.view.classes_asked = 3;
    expect_differ(&job, other, "classes asked for is 3, was 0");
    labels[1] = 2;
    expect_differ(&job, job_new(10, "weight", 100), "label of class 1 is 2, was 1");
    shape[0] = 5;
    labels[1] = 1;
    expect_differ(&job, job_new(10, "weight", 100), "tensor weight");
    client_job_fini(&job);
    ASSERT_NO_LEAKS();
}

/* --steps and --epochs may be given anew where a server goes on from a checkpoint. */
Test(job, another_end_is_taken)
{
    struct client_job job = job_new(10, "weight", 100), other = job_new(10, "weight", 100);
    dp_error err;
    other.view.train_steps = other.plan.train_steps = 20;
    other.steps = plan_total(&other.plan);
    other.view.local_epochs = 2;
    other.singly = true;
    cr_assert_eq(client_job_same(&job, &other, &err), DP_OK, "%s", err.text);
    cr_assert_eq(client_job_like(&job, &other, &err), DP_OK, "%s", err.text);
    client_job_extend(&job, &other);
    cr_assert_eq(job.view.train_steps, 20);
    cr_assert_eq(job.view.local_epochs, 2);
    cr_assert_eq(job.steps, other.steps);
    cr_assert_eq(plan_total(&job.plan), other.steps);
    cr_assert(job.singly);
    client_job_fini(&other);
    client_job_fini(&job);
    ASSERT_NO_LEAKS();
}

Test(job, numbers_that_make_no_plan_are_refused)
{
    Dp__Job msg = DP__JOB__INIT;
    struct client_job job;
    dp_error err;
    dp__tensor__init(&tensor);
    tensor.name = "weight";
    tensor.n_shape = ARRAY_LEN(shape);
    tensor.shape = shape;
    msg.model = "softmax";
    msg.slots = 8;
    msg.n_tensors = 1;
    msg.tensors = tensor_list;
    cr_assert_eq(client_job_take(&msg, &job, &err), DP_PROTO);
    cr_assert_not_null(strstr(err.text, "makes no plan"), "%s", err.text);
    ASSERT_NO_LEAKS();
}
