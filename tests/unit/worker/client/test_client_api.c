/* The calls of dp.h with what they must not be given: NULL, gradients of somebody else's, gradients that are not
 * finite. Each says what is wrong, and the job goes on. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/mini_client.h"

/* An error as a stack may have it. */
static dp_error garbage(void)
{
    dp_error err;
    memset(&err, 0x5a, sizeof err);
    return err;
}

#define EXPECT_CLEAR(err)                 \
    do {                                  \
        cr_assert_eq((err).code, DP_OK);  \
        cr_assert_str_eq((err).text, ""); \
        (err) = garbage();                \
    } while (0)

/* A loop that looks at err alone ends as the calls say, whatever err was before. */
Test(client_api, success_clears_the_error)
{
    struct mini *mini = mini_run(1, false);
    const dp_config config = config_for(mini->endpoint);
    dp_error err = garbage();
    dp_client *client = NULL;
    dp_task task;
    dp_metrics metrics = {.count = 2};
    cr_assert_eq(dp_connect(&config, &client, &err), DP_OK);
    EXPECT_CLEAR(err);
    cr_assert_eq(dp_join(client, &MINI_DATA, NULL, &MINI_MODEL, &err), DP_OK);
    EXPECT_CLEAR(err);
    cr_assert_eq(dp_next(client, &task, &err), DP_OK);
    EXPECT_CLEAR(err);
    for (uint32_t i = 0; i < task.slot_count; i++) {
        float *grad = dp_gradient(client, &err);
        EXPECT_CLEAR(err);
        memset(grad, 0, ELEMS * sizeof *grad);
        cr_assert_eq(dp_push(client, task.slots[i], grad, &metrics, &err), DP_OK);
        EXPECT_CLEAR(err);
    }
    cr_assert_eq(dp_next(client, &task, &err), DP_JOB_DONE);
    cr_assert_eq(err.code, DP_JOB_DONE);
    mini_leave(&mini, &client, &err);
}

#define WRONG(call, part)                                             \
    do {                                                              \
        dp_error err_ = garbage(), *err = &err_;                      \
        cr_assert_eq(call, DP_USAGE);                                 \
        cr_assert_eq(err->code, DP_USAGE);                            \
        cr_assert_not_null(strstr(err->text, part), "%s", err->text); \
    } while (0)

Test(client_api, what_is_null_is_told)
{
    const dp_config config = config_for("tcp://127.0.0.1:1");
    const dp_metrics metrics = {.count = 1};
    dp_client *client = NULL;
    dp_task task;
    WRONG(dp_connect(NULL, &client, err), "config");
    WRONG(dp_connect(&config, NULL, err), "ret_client");
    WRONG(dp_join(NULL, &MINI_DATA, NULL, &MINI_MODEL, err), "client");
    WRONG(dp_join_free(NULL, &MINI_MODEL, err), "client");
    WRONG(dp_next(NULL, &task, err), "client");
    WRONG(dp_push(NULL, 0, NULL, &metrics, err), "client");
    WRONG(dp_step(NULL, NULL, &metrics, &task, err), "client");
    cr_assert_null(dp_client_job(NULL));
    cr_assert_null(dp_gradient(NULL, NULL));
    cr_assert_eq(dp_task_wanted(NULL), 0);
    cr_assert_eq(dp_slot_rows(NULL, 0, NULL, 0), 0);
    cr_assert_eq(dp_step_rows(NULL, 0, 0, NULL, 0), 0);
    dp_gradient_free(NULL, NULL);
    dp_leave(NULL, DP_OK, NULL);
    dp_leave(&client, DP_OK, NULL);
}

static void refused(dp_client *client, const dp_dataset *data, const dp_model *model, const char *part)
{
    WRONG(dp_join(client, data, NULL, model, err), part);
}

/* Nothing of it reaches the server, and the client can join afterwards. */
Test(client_api, models_with_null_in_them_are_told)
{
    struct mini *mini = mini_run(2, false);
    dp_client *client = connect_to(mini);
    const uint64_t shape[] = {ELEMS};
    const dp_tensor good = {.name = "weight", .rank = 1, .shape = shape};
    dp_tensor bad = good;
    dp_model model = {.tensors = &bad, .tensor_count = 1};
    dp_dataset data = MINI_DATA;
    bad.shape = NULL;
    refused(client, &MINI_DATA, &model, "tensor 'weight' of the model has rank 1 and no shape");
    bad = good;
    bad.rank = 0;
    refused(client, &MINI_DATA, &model, "tensor 'weight' of the model has rank 0 and a shape");
    bad = good;
    bad.name = NULL;
    refused(client, &MINI_DATA, &model, "tensor 0 of the model has no name");
    bad = good;
    model.tensors = NULL;
    refused(client, &MINI_DATA, &model, "`tensors` is NULL");
    model = (dp_model){.tensors = &bad, .tensor_count = 0};
    refused(client, &MINI_DATA, &model, "0 tensors");
    model = (dp_model){.tensors = &bad, .tensor_count = 1, .label_count = 2};
    refused(client, &MINI_DATA, &model, "2 labels");
    data.labels = NULL;
    refused(client, &data, &MINI_MODEL, "2 labels");
    refused(client, &MINI_DATA, NULL, "tensors of its model");
    dp_error err;
    cr_assert_eq(dp_join(client, &MINI_DATA, NULL, &MINI_MODEL, &err), DP_OK, "%s", err.text);
    cr_assert_eq(dp_next(client, NULL, &err), DP_USAGE);
    expect_job(mini, client, 2);
    expect_sums(mini, 0, 2);
    mini_end(&mini);
}

static size_t slabs_in_use(const dp_client *client)
{
    size_t n = 0;
    for (const struct slab *slab = client->plane.slabs.all; slab; slab = slab->next)
        n += atomic_load(&slab->refs) > 0;
    return n;
}

/* dp_push takes a gradient, whatever it returns; memory of somebody else's stays that. */
Test(client_api, a_gradient_belongs_to_the_push)
{
    struct mini *mini = mini_run(2, false);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    const dp_metrics metrics = {.count = 2};
    task = task_next(client);
    float *grads[] = {dp_gradient(client, &err), dp_gradient(client, &err)};
    for (size_t i = 0; i < ARRAY_LEN(grads); i++)
        memset(grads[i], 0, ELEMS * sizeof *grads[i]);
    cr_assert_eq(slabs_in_use(client), 2);
    cr_assert_eq(dp_push(client, 8, grads[0], &metrics, &err), DP_RANGE);
    cr_assert_eq(slabs_in_use(client), 1);
    cr_assert_eq(dp_push(client, task.slots[0], grads[1], NULL, &err), DP_USAGE);
    cr_assert_eq(slabs_in_use(client), 0);
    for (size_t i = 0; i < ARRAY_LEN(grads); i++) {
        dp_gradient_free(client, grads[i]); /* does nothing */
        cr_assert_eq(dp_push(client, task.slots[0], grads[i], &metrics, &err), DP_USAGE);
        cr_assert_not_null(strstr(err.text, "not one of dp_gradient"), "%s", err.text);
    }
    cr_assert_eq(slabs_in_use(client), 0);
    float *own = calloc(ELEMS, sizeof *own);
    cr_assert_eq(dp_push(client, task.slots[0], own, &metrics, &err), DP_USAGE);
    free(own);
    push_task(client, &task);
    expect_job(mini, client, 1);
    expect_sums(mini, 0, 2);
    mini_end(&mini);
}

/* At all places that a check by vectors might leave out. */
Test(client_api, a_gradient_that_is_not_finite_is_refused)
{
    static const size_t AT[] = {0, 1, 7, ELEMS / 2, ELEMS - 1};
    static const float WHAT[] = {NAN, INFINITY, -INFINITY};
    struct mini *mini = mini_run(2, false);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    const dp_metrics metrics = {.count = 2, .loss = 3};
    task = task_next(client);
    for (size_t i = 0; i < ARRAY_LEN(AT) * ARRAY_LEN(WHAT); i++) {
        char place[64];
        float *grad = dp_gradient(client, &err);
        memset(grad, 0, ELEMS * sizeof *grad);
        grad[AT[i / ARRAY_LEN(WHAT)]] = WHAT[i % ARRAY_LEN(WHAT)];
        snprintf(place, sizeof place, "element %zu of tensor 'weight' is ", AT[i / ARRAY_LEN(WHAT)]);
        cr_assert_eq(dp_push(client, task.slots[0], grad, &metrics, &err), DP_DATA);
        cr_assert_not_null(strstr(err.text, place), "%s", err.text);
        cr_assert_not_null(strstr(err.text, "slot 0"), "%s", err.text);
        cr_assert_eq(slabs_in_use(client), 0);
    }
    task = task_next(client);
    cr_assert_eq(task.slot_count, 8, "the slot is still owed");
    push_task(client, &task);
    expect_job(mini, client, 1);
    expect_sums(mini, 0, 2);
    mini_end(&mini);
}

/* The largest finite values, and denormals, are values like any other. */
Test(client_api, extreme_gradients_that_are_finite_are_taken)
{
    struct mini *mini = mini_run(1, false);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    const dp_metrics metrics = {.count = 2, .loss = 3};
    task = task_next(client);
    for (uint32_t k = 0; k < task.slot_count; k++) {
        float *grad = dp_gradient(client, &err);
        for (size_t i = 0; i < ELEMS; i++)
            grad[i] = k > 0 ? 0 : i % 2 ? -3.4028234e38F : 1e-45F;
        cr_assert_eq(dp_push(client, task.slots[k], grad, &metrics, &err), DP_OK, "%s", err.text);
    }
    cr_assert_eq(dp_next(client, &task, &err), DP_JOB_DONE, "%s", err.text);
    cr_assert_eq(mini->slices[0].theta[1], -3.4028234e38F);
    dp_leave(&client, DP_OK, NULL);
    mini_end(&mini);
}

/* The loss says it then, and the server ends the job. */
Test(client_api, a_gradient_that_diverged_with_its_loss_is_taken)
{
    struct mini *mini = mini_run(1, false);
    dp_client *client = join_to(mini);
    dp_task task;
    dp_error err;
    const dp_metrics metrics = {.count = 2, .loss = NAN};
    task = task_next(client);
    for (uint32_t k = 0; k < task.slot_count; k++) {
        float *grad = dp_gradient(client, &err);
        for (size_t i = 0; i < ELEMS; i++)
            grad[i] = INFINITY;
        cr_assert_eq(dp_push(client, task.slots[k], grad, &metrics, &err), DP_OK, "%s", err.text);
    }
    cr_assert_eq(dp_next(client, &task, &err), DP_JOB_DONE, "%s", err.text);
    cr_assert(isnan(mini->slices[0].loss));
    dp_leave(&client, DP_OK, NULL);
    mini_end(&mini);
}
