/* Joining the job. Thread: main. */
#include "worker/run/train_join.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "worker/run/schema_told.h"
#include "worker/run/train_data.h"
#include "worker/run/train_prepare.h"

static dp_dataset dataset_of(const struct train *t, const struct data *data)
{
    const struct data_look *look = data == &t->eval_data ? &t->eval_look : &t->train_look;
    return (dp_dataset){
        .zero_loss = look->zero_loss,
        .majority = look->majority,
        .scales = look->scales,
        .name = data->name,
        .rows = data->rows,
        .features = data->features,
        .fingerprint =
            t->blocks && data == &t->train_data ? data_blocks_facts(t->blocks).fingerprint : data_fingerprint(data),
    };
}

/* theta is read and gradients are written by our own description of the tensors. */
static dp_err check_tensors(const struct train *t, dp_error *err)
{
    const dp_job *job = dp_client_job(t->client);
    bool same = job->tensor_count == t->tensors.count;
    for (uint32_t i = 0; same && i < job->tensor_count; i++) {
        const struct tensor *ours = &t->tensors.list[i];
        const dp_tensor *theirs = &job->tensors[i];
        same = strcmp(theirs->name, ours->name) == 0 && theirs->rank == ours->rank &&
               theirs->kind == (dp_kind)ours->kind &&
               memcmp(theirs->shape, ours->shape, ours->rank * sizeof *ours->shape) == 0;
    }
    if (!same)
        return dp_fail(err, DP_MODEL, "the job's tensors are not those of %s for %s", job->model, t->train_data.name);
    return DP_OK;
}

/* dp_model.rows: the weight is the only table. */
static dp_err rows_of(void *arg, const dp_ask *ask, dp_rows *rows, dp_error *err)
{
    struct train *t = arg;
    train_take_plan(t);
    return touched_rows(t->touched, ask, rows, err);
}

/* Notes on training and evaluation data in one. */
static dp_err note_all(struct train *t, dp_error *err)
{
    const char *train = train_data_found(t)->note, *eval = t->has_eval ? t->eval_data.note : NULL;
    if (asprintf(&t->note, "%s%s%s", train ? train : "", train && eval ? "; " : "", eval ? eval : "") >= 0)
        return DP_OK;
    t->note = NULL;
    return dp_fail(err, DP_NOMEM, "out of memory");
}

static dp_err join_with(struct train *t, const dp_model *model, dp_error *err)
{
    if (dp_client_job(t->client)->local)
        return dp_join_free(t->client, model, err);
    dp_dataset train = dataset_of(t, &t->train_data), eval = {0};
    if (t->has_eval)
        eval = dataset_of(t, &t->eval_data);
    return dp_join(t->client, &train, t->has_eval ? &eval : NULL, model, err);
}

dp_err train_join(struct train *t, dp_error *err)
{
    dp_tensor tensors[TENSOR_COUNT_MAX];
    for (uint32_t i = 0; i < t->tensors.count; i++) {
        const struct tensor *from = &t->tensors.list[i];
        tensors[i] = (dp_tensor){.name = from->name,
                                 .rank = from->rank,
                                 .shape = from->shape,
                                 .init = (dp_init)from->init,
                                 .init_arg = from->init_arg,
                                 .regularized = from->regularized,
                                 .kind = (dp_kind)from->kind};
    }
    if (note_all(t, err))
        return err->code;
    const dp_schema schema = schema_told(&train_data_found(t)->schema, t->note);
    AUTOFREE char **texts = label_list_texts(&t->labels);
    if (!texts)
        return dp_fail(err, DP_NOMEM, "out of memory for %zu labels", t->labels.count);
    dp_model model = {.tensors = tensors,
                      .tensor_count = t->tensors.count,
                      .classes = t->work.spec.classes,
                      .label_texts = (const char *const *)texts,
                      .label_count = t->labels.count,
                      .rows = rows_of,
                      .rows_arg = t,
                      .schema = &schema};
    dp_err e = join_with(t, &model, err);
    if (!e)
        e = check_tensors(t, err);
    if (!e)
        report_joined(&t->report, t->opts->server, dp_client_job(t->client));
    return e;
}
