/* A job as the server describes it: copies of a message, and comparison. Thread: the client's. */
#include "worker/client/state/layout.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/tensor/schema.h"

/* Only dense tensors are in theta. */
static void tensor_place(dp_tensor *tensor, uint64_t *theta_elems)
{
    for (uint32_t k = tensor->kind == DP_TABLE; k < tensor->rank; k++)
        tensor->elems *= tensor->shape[k];
    if (tensor->kind != DP_DENSE)
        return;
    tensor->offset = *theta_elems;
    *theta_elems += tensor->elems;
}

/* Copies the tensors with names and shapes; false when out of memory. */
static bool tensors_copy(const Dp__Job *msg, dp_job *view)
{
    dp_tensor *tensors = mem_array_zero(msg->n_tensors, sizeof *tensors);
    view->tensors = tensors;
    if (!tensors)
        return false;
    for (size_t i = 0; i < msg->n_tensors; i++) {
        const Dp__Tensor *from = msg->tensors[i];
        uint64_t *shape = mem_array(from->n_shape, sizeof *shape);
        char *name = strdup(from->name);
        tensors[i] = (dp_tensor){.name = name,
                                 .rank = (uint32_t)from->n_shape,
                                 .shape = shape,
                                 .init = (dp_init)from->init,
                                 .init_arg = from->init_arg,
                                 .regularized = from->regularized,
                                 .elems = 1,
                                 .kind = (dp_kind)from->kind};
        view->tensor_count++;
        if (!shape || !name)
            return false;
        memcpy(shape, from->shape, from->n_shape * sizeof *shape);
        tensor_place(&tensors[i], &view->theta_elems);
    }
    return true;
}

/* Labels as settled and as asked for. DP_PROTO for a text that is no label. */
static dp_err labels_copy(const Dp__Job *msg, struct client_job *job, dp_error *err)
{
    dp_job *view = &job->view;
    const char *const *texts = msg->n_label_texts ? (const char *const *)msg->label_texts : NULL;
    dp_err e = label_list_take(msg->labels, texts, texts ? msg->n_label_texts : msg->n_labels, &job->labels, err);
    if (!e)
        e = label_list_take(NULL, (const char *const *)msg->labels_asked, msg->n_labels_asked, &job->labels_asked, err);
    if (e)
        return dp_fail(err, e == DP_NOMEM ? e : DP_PROTO, "the job's labels: %.400s", err ? err->text : "");
    double *values = mem_array(job->labels.count, sizeof *values);
    view->labels = values;
    view->label_texts = (const char *const *)label_list_texts(&job->labels);
    view->labels_asked = (const char *const *)label_list_texts(&job->labels_asked);
    if (!values || !view->label_texts || !view->labels_asked)
        return dp_fail(err, DP_NOMEM, "no memory for the job's labels");
    for (size_t i = 0; i < job->labels.count; i++)
        values[i] = job->labels.list[i].word ? NAN : job->labels.list[i].value;
    view->label_count = job->labels.count;
    view->labels_asked_count = job->labels_asked.count;
    return DP_OK;
}

/* The note is the first worker's, and not told again. */
static bool schema_take(const Dp__Schema *msg, dp_job *view)
{
    dp_schema *schema = msg ? mem_array_zero(1, sizeof *schema) : NULL;
    view->schema = schema;
    if (!schema)
        return !msg;
    schema->format = msg->format;
    schema->fields = msg->fields;
    schema->label_at = msg->label_number - 1;
    schema->name_count = msg->n_names;
    schema->ignored_count = msg->n_ignored;
    schema->names = (const char *const *)schema_list_copy(msg->names, msg->n_names);
    schema->ignored = (const char *const *)schema_list_copy(msg->ignored, msg->n_ignored);
    schema->label = msg->label[0] ? strdup(msg->label) : NULL;
    return schema->names && schema->ignored && (schema->label || !msg->label[0]);
}

static void schema_free(const dp_schema *schema)
{
    if (schema) {
        free((void *)schema->names);
        free((void *)schema->ignored);
        free((void *)schema->label);
    }
    free((void *)schema);
}

static dp_err job_plan(struct client_job *job, dp_error *err)
{
    const dp_job *view = &job->view;
    job->plan = (struct plan){.seed = view->seed,
                              .train_rows = view->train_rows,
                              .eval_rows = view->eval_rows,
                              .batch = view->batch,
                              .train_steps = view->train_steps,
                              .slots = view->slots,
                              .block_rows = view->block_rows,
                              .window_blocks = view->window_blocks};
    if (plan_check(&job->plan, err))
        return dp_fail(err, DP_PROTO, "the server's description of the job makes no plan: %.300s", err->text);
    job->steps = plan_total(&job->plan);
    return DP_OK;
}

dp_err client_job_take(const Dp__Job *msg, struct client_job *ret_job, dp_error *err)
{
    struct client_job job = {.view = {.features = msg->features,
                                      .classes = msg->classes,
                                      .classes_asked = msg->classes_asked,
                                      .intercept = msg->intercept,
                                      .evaluate = msg->evaluate,
                                      .batch = msg->batch,
                                      .slots = msg->slots,
                                      .block_rows = msg->block_rows,
                                      .window_blocks = msg->window_blocks,
                                      .local = msg->local,
                                      .local_rows = msg->local_rows,
                                      .local_epochs = msg->local_epochs,
                                      .seed = msg->seed,
                                      .train_steps = msg->train_steps,
                                      .train_rows = msg->train_rows,
                                      .eval_rows = msg->eval_rows,
                                      .sparse = msg->sparse,
                                      .hash_bits = msg->hash_bits}};
    job.singly = msg->singly;
    job.view.model = strdup(msg->model);
    dp_err e = DP_OK;
    if (!job.view.model || !tensors_copy(msg, &job.view) || !schema_take(msg->schema, &job.view))
        e = dp_fail(err, DP_NOMEM, "no memory for the description of the job");
    if (!e)
        e = labels_copy(msg, &job, err);
    if (!e && msg->n_tensors > 0)
        e = job_plan(&job, err);
    if (e)
        client_job_fini(&job);
    else
        *ret_job = job;
    return e;
}

void client_job_fini(struct client_job *job)
{
    for (uint32_t i = 0; i < job->view.tensor_count; i++) {
        free((void *)job->view.tensors[i].name);
        free((void *)job->view.tensors[i].shape);
    }
    free((void *)job->view.tensors);
    free((void *)job->view.labels);
    schema_free(job->view.schema);
    free((void *)job->view.label_texts);
    free((void *)job->view.labels_asked);
    label_list_fini(&job->labels);
    label_list_fini(&job->labels_asked);
    free((void *)job->view.model);
    *job = (struct client_job){0};
}

static dp_err differ(dp_error *err, const char *what, uint64_t was, uint64_t now)
{
    return dp_fail(err, DP_REFUSED, "the server came back with another job: %s is %llu, was %llu", what,
                   (unsigned long long)now, (unsigned long long)was);
}

struct job_number {
    const char *what;
    uint64_t was, now;
};

static dp_err numbers_same(const struct job_number *numbers, size_t count, dp_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (numbers[i].was != numbers[i].now)
            return differ(err, numbers[i].what, numbers[i].was, numbers[i].now);
    return DP_OK;
}

static dp_err labels_same(const struct label_list *was, const struct label_list *now, dp_error *err)
{
    if (was->count != now->count)
        return differ(err, "the number of labels", was->count, now->count);
    for (size_t i = 0; i < was->count; i++)
        if (label_compare(&was->list[i], &now->list[i]) != 0)
            return dp_fail(err, DP_REFUSED, "the server came back with another job: label of class %zu is %s, was %s",
                           i, now->list[i].text, was->list[i].text);
    return DP_OK;
}

/* Options of dp-server, which no worker's data change. */
static dp_err wishes_same(const dp_job *was, const dp_job *now, dp_error *err)
{
    const struct job_number numbers[] = {
        {"the rows of a block", was->block_rows, now->block_rows},
        {"the blocks of a window", was->window_blocks, now->window_blocks},
        {"local data", (uint64_t)was->local, (uint64_t)now->local},
        {"intercept", (uint64_t)was->intercept, (uint64_t)now->intercept},
        {"hash-bits", was->hash_bits, now->hash_bits},
        {"sparse", (uint64_t)was->sparse, (uint64_t)now->sparse},
        {"the number of classes asked for", was->classes_asked, now->classes_asked},
        {"slots", was->slots, now->slots},
        {"seed", was->seed, now->seed},
        {"the rows of a worker's minibatch", was->local_rows, now->local_rows},
    };
    if (strcmp(was->model, now->model) != 0)
        return dp_fail(err, DP_REFUSED, "the server came back with another job: model is %.60s, was %.60s", now->model,
                       was->model);
    return numbers_same(numbers, ARRAY_LEN(numbers), err);
}

/* Facts that the first worker's data settle. */
static dp_err settled_same(const dp_job *was, const dp_job *now, dp_error *err)
{
    const struct job_number numbers[] = {
        {"features", was->features, now->features},
        {"classes", was->classes, now->classes},
        {"evaluate", (uint64_t)was->evaluate, (uint64_t)now->evaluate},
        {"batch", was->batch, now->batch},
        {"the number of training rows", was->train_rows, now->train_rows},
        {"the number of evaluation rows", was->eval_rows, now->eval_rows},
        {"the number of tensors", was->tensor_count, now->tensor_count},
    };
    return numbers_same(numbers, ARRAY_LEN(numbers), err);
}

/* As a settled job has it: at most the rows that there are. */
static uint64_t batch_settled(const dp_job *job, uint64_t rows)
{
    return job->train_rows == 0 && rows > 0 ? MIN(job->batch, rows) : job->batch;
}

dp_err client_job_like(const struct client_job *was, const struct client_job *now, dp_error *err)
{
    const dp_job *a = &was->view, *b = &now->view;
    const bool features = a->features && b->features, classes = a->classes && b->classes, local = a->local;
    const struct job_number numbers[] = {
        {"features", features ? a->features : 0, features ? b->features : 0},
        {"classes", classes ? a->classes : 0, classes ? b->classes : 0},
        {"batch", local ? 0 : batch_settled(a, b->train_rows), local ? 0 : batch_settled(b, a->train_rows)},
    };
    dp_err e = wishes_same(a, b, err);
    if (!e)
        e = labels_same(&was->labels_asked, &now->labels_asked, err);
    return e ? e : numbers_same(numbers, ARRAY_LEN(numbers), err);
}

static bool tensor_same(const dp_tensor *a, const dp_tensor *b)
{
    return strcmp(a->name, b->name) == 0 && a->rank == b->rank && a->kind == b->kind && a->init == b->init &&
           memcmp(&a->init_arg, &b->init_arg, sizeof a->init_arg) == 0 && a->regularized == b->regularized &&
           memcmp(a->shape, b->shape, a->rank * sizeof *a->shape) == 0;
}

dp_err client_job_same(const struct client_job *was, const struct client_job *now, dp_error *err)
{
    const dp_job *a = &was->view, *b = &now->view;
    dp_err e = wishes_same(a, b, err);
    if (!e)
        e = settled_same(a, b, err);
    if (e)
        return e;
    for (uint32_t i = 0; i < a->tensor_count; i++)
        if (!tensor_same(&a->tensors[i], &b->tensors[i]))
            return dp_fail(err, DP_REFUSED, "the server came back with another job: tensor %s is not what it was",
                           a->tensors[i].name);
    e = labels_same(&was->labels_asked, &now->labels_asked, err);
    /* In a local job they may be settled by a worker that comes later. */
    bool open = a->local && (a->label_count == 0 || b->label_count == 0);
    return e || open ? e : labels_same(&was->labels, &now->labels, err);
}

void client_job_extend(struct client_job *job, const struct client_job *now)
{
    job->view.train_steps = now->view.train_steps;
    job->view.local_epochs = now->view.local_epochs;
    job->plan.train_steps = now->plan.train_steps;
    job->steps = now->steps;
    job->singly = now->singly;
}

static void parts_take(const Dp__Shard *from, struct job_layout *layout, struct job_shard *shard)
{
    shard->first_part = layout->part_count;
    shard->part_count = (uint32_t)from->n_parts;
    for (size_t i = 0; i < from->n_parts; i++) {
        const Dp__Part *part = from->parts[i];
        layout->parts[layout->part_count++] = (struct job_part){part->tensor, part->first, part->last};
    }
}

static void shard_take(const Dp__Shard *from, struct job_layout *layout, uint64_t *at, struct job_shard *shard)
{
    shard->first_slice = layout->slice_count;
    shard->slice_count = (uint32_t)from->n_slices;
    for (size_t i = 0; i < from->n_slices; i++) {
        layout->slices[layout->slice_count++] = (struct range){*at, from->slices[i]};
        *at += from->slices[i];
    }
    parts_take(from, layout, shard);
}

dp_err layout_take(const Dp__Job *msg, const char *head_host, struct job_layout *ret_layout, dp_error *err)
{
    size_t slices = 0, parts = 0;
    for (size_t i = 0; i < msg->n_shards; i++) {
        slices += msg->shards[i]->n_slices;
        parts += msg->shards[i]->n_parts;
    }
    struct job_layout layout = {.shard_count = (uint32_t)msg->n_shards,
                                .shards = mem_array_zero(msg->n_shards, sizeof *layout.shards),
                                .slices = mem_array(slices, sizeof *layout.slices),
                                .parts = mem_array(parts, sizeof *layout.parts)};
    bool room = layout.shards && layout.slices && layout.parts;
    dp_err e = DP_OK;
    if (!room)
        e = dp_fail(err, DP_NOMEM, "no memory for a layout of %zu slices and %zu parts", slices, parts);
    uint64_t at = 0;
    for (size_t i = 0; room && e == DP_OK && i < msg->n_shards; i++) {
        e = endpoint_parse_shard(msg->shards[i]->endpoint, head_host, &layout.shards[i].endpoint, err);
        layout.shards[i].at_head = msg->shards[i]->at_head;
        (void)str_copy(layout.shards[i].shm, sizeof layout.shards[i].shm, msg->shards[i]->shm);
        shard_take(msg->shards[i], &layout, &at, &layout.shards[i]);
    }
    if (e)
        layout_fini(&layout);
    else
        *ret_layout = layout;
    return e;
}

void layout_fini(struct job_layout *layout)
{
    free(layout->shards);
    free(layout->slices);
    free(layout->parts);
    *layout = (struct job_layout){0};
}
