/* Data and tensors that a worker brings to a job: a deep copy as a message, kept for joining again.
 * Thread: the one that uses the client. */
#include "worker/client/contact/join.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/tensor/label_list.h"

/* A data set's message and the name in it that can be sent. */
struct dataset_message {
    Dp__Dataset body;
    char name[FRAME_TEXT_MAX + 1];
    char scales[FRAME_TEXT_MAX + 1];
};

static void dataset_fill(struct dataset_message *message, const dp_dataset *set)
{
    dp__dataset__init(&message->body);
    text_clean(message->name, sizeof message->name, set->name ? set->name : "");
    message->body.rows = set->rows;
    message->body.features = set->features;
    message->body.fingerprint = set->fingerprint;
    message->body.n_labels = set->label_count;
    message->body.labels = (double *)set->labels; /* read only: it is packed at once */
    message->body.name = message->name;
    text_clean(message->scales, sizeof message->scales, set->scales ? set->scales : "");
    message->body.zero_loss = set->zero_loss;
    message->body.majority = set->majority;
    message->body.scales = message->scales;
}

static void tensor_fill(Dp__Tensor *body, const dp_tensor *tensor)
{
    dp__tensor__init(body);
    body->name = (char *)tensor->name;
    body->n_shape = tensor->rank;
    body->shape = (uint64_t *)tensor->shape;
    body->init = (uint32_t)tensor->init;
    body->init_arg = tensor->init_arg;
    body->regularized = tensor->regularized;
    body->kind = (Dp__Tensor__Kind)tensor->kind;
}

/* Texts are borrowed. */
static void schema_fill(Dp__Schema *body, char note[FRAME_TEXT_MAX + 1], const dp_schema *schema)
{
    dp__schema__init(body);
    text_clean(note, FRAME_TEXT_MAX + 1, schema->note ? schema->note : "");
    body->format = schema->format;
    body->n_names = schema->name_count;
    body->names = (char **)schema->names;
    body->label = schema->label ? (char *)schema->label : body->label;
    body->fields = schema->fields;
    body->label_number = schema->label_at + 1; /* UINT64_MAX: 0 */
    body->n_ignored = schema->ignored_count;
    body->ignored = (char **)schema->ignored;
    body->note = note;
}

static uint32_t tables_of(const dp_model *model)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < model->tensor_count; i++)
        count += model->tensors[i].kind != DP_DENSE;
    return count;
}

/* A copy that owns its memory, by way of the bytes. */
static Dp__Join *join_copy(const Dp__Join *join)
{
    AUTOFREE uint8_t *bytes = mem_array(dp__join__get_packed_size(join), 1);
    return bytes ? dp__join__unpack(NULL, dp__join__pack(join, bytes), bytes) : NULL;
}

/* The server drops what does not pass these checks without a word; so they are made here. */
static dp_err join_check(Dp__Join *join, dp_error *err)
{
    struct arena arena = {0};
    const Dp__Header *parsed;
    Dp__Header header = DP__HEADER__INIT;
    header.body_case = DP__HEADER__BODY_JOIN;
    header.join = join;
    size_t bytes = frame_size(&header);
    AUTOFREE uint8_t *buf = mem_array(bytes, 1);
    if (!buf)
        return dp_fail(err, DP_NOMEM, "no memory for the description of the data");
    frame_write(&header, buf);
    dp_err e = frame_parse(&arena, buf, bytes, 0, &parsed, err);
    arena_fini(&arena);
    return e ? dp_fail(err, DP_USAGE, "data and model cannot be described to the server: %.400s", err->text) : DP_OK;
}

/* Lists that are said to have entries, and are not there. */
static dp_err join_lists(const dp_dataset *train, const dp_dataset *eval, const dp_model *model, dp_error *err)
{
    const dp_dataset *sets[] = {train, eval};
    for (size_t i = 0; i < ARRAY_LEN(sets); i++)
        if (sets[i] && sets[i]->label_count > 0 && !sets[i]->labels)
            return dp_fail(err, DP_USAGE, "data set %.200s: %zu labels are announced, and `labels` is NULL",
                           sets[i]->name ? sets[i]->name : "without a name", sets[i]->label_count);
    if (model->label_count > 0 && !model->labels && !model->label_texts)
        return dp_fail(err, DP_USAGE, "the model announces %zu labels, and `labels` is NULL, as is `label_texts`",
                       model->label_count);
    for (size_t i = 0; model->label_texts && i < model->label_count; i++)
        if (!model->label_texts[i])
            return dp_fail(err, DP_USAGE, "`label_texts` of the model has NULL for class %zu", i);
    if (model->tensor_count == 0 || !model->tensors)
        return dp_fail(err, DP_USAGE, "the model has %u tensors, and `tensors` is %s; a worker brings one at least",
                       model->tensor_count, model->tensors ? "there" : "NULL");
    for (uint32_t i = 0; i < model->tensor_count; i++) {
        const dp_tensor *tensor = &model->tensors[i];
        if (!tensor->name || !tensor->name[0])
            return dp_fail(err, DP_USAGE, "tensor %u of the model has no name", i);
        if (tensor->rank == 0 || !tensor->shape)
            return dp_fail(err, DP_USAGE,
                           "tensor '%.100s' of the model has rank %u and %s shape; a single number has rank 1, shape 1",
                           tensor->name, tensor->rank, tensor->shape ? "a" : "no");
    }
    return DP_OK;
}

/* class -> label: texts where numbers would not say it, and numbers where all are. *ret_values is to be freed. */
static dp_err labels_fill(Dp__Join *join, const dp_model *model, double **ret_values, dp_error *err)
{
    struct label_list labels;
    join->labels = (double *)model->labels;
    join->n_labels = model->label_texts ? 0 : model->label_count;
    if (!model->label_texts)
        return DP_OK;
    if (label_list_take(NULL, model->label_texts, model->label_count, &labels, err))
        return dp_fail(err, DP_USAGE, "the model's labels: %.400s", err ? err->text : "");
    if (label_list_has_texts(&labels)) {
        join->n_label_texts = model->label_count;
        join->label_texts = (char **)model->label_texts;
    }
    double *values = *ret_values = mem_array(labels.count, sizeof *values);
    bool numbers = values && !label_list_has_words(&labels);
    for (size_t i = 0; numbers && i < labels.count; i++)
        values[i] = labels.list[i].value;
    join->labels = values;
    join->n_labels = numbers ? labels.count : 0;
    label_list_fini(&labels);
    return values ? DP_OK : dp_fail(err, DP_NOMEM, "no memory for the labels");
}

/* Memory that the message points to while it is packed. */
struct join_parts {
    struct dataset_message train, eval;
    Dp__Schema schema;
    char note[FRAME_TEXT_MAX + 1];
    Dp__Tensor *tensors; /* heap, */
    Dp__Tensor **list;   /* likewise */
    double *labels;      /* likewise */
};

static void parts_fini(struct join_parts *parts)
{
    free(parts->tensors);
    free(parts->list);
    free(parts->labels);
}

static dp_err tensors_fill(Dp__Join *join, struct join_parts *parts, const dp_model *model, dp_error *err)
{
    parts->tensors = mem_array(model->tensor_count, sizeof *parts->tensors);
    parts->list = mem_array(model->tensor_count, sizeof(Dp__Tensor *));
    if (!parts->tensors || !parts->list)
        return dp_fail(err, DP_NOMEM, "no memory for %u tensors", model->tensor_count);
    for (uint32_t i = 0; i < model->tensor_count; i++) {
        tensor_fill(&parts->tensors[i], &model->tensors[i]);
        parts->list[i] = &parts->tensors[i];
    }
    join->n_tensors = model->tensor_count;
    join->tensors = parts->list;
    join->classes = model->classes;
    return DP_OK;
}

static void data_fill(Dp__Join *join, struct join_parts *parts, const dp_dataset *train, const dp_dataset *eval,
                      const dp_schema *schema)
{
    if (train) {
        dataset_fill(&parts->train, train);
        join->train = &parts->train.body;
    }
    if (eval) {
        dataset_fill(&parts->eval, eval);
        join->eval = &parts->eval.body;
    }
    if (schema) {
        schema_fill(&parts->schema, parts->note, schema);
        join->schema = &parts->schema;
    }
}

dp_err join_new(const dp_dataset *train, const dp_dataset *eval, const dp_model *model, Dp__Join **ret_join,
                dp_error *err)
{
    struct join_parts parts = {.tensors = NULL};
    Dp__Join join = DP__JOIN__INIT;
    if (!model)
        return dp_fail(err, DP_USAGE, "a worker brings the tensors of its model");
    dp_err e = join_lists(train, eval, model, err);
    if (e)
        return e;
    if (tables_of(model) > 0 && !model->rows)
        return dp_fail(err, DP_USAGE, "the model has tables, and no function `rows` that says which rows slots touch");
    e = tensors_fill(&join, &parts, model, err);
    data_fill(&join, &parts, train, eval, model->schema);
    if (e == DP_OK)
        e = labels_fill(&join, model, &parts.labels, err);
    if (e == DP_OK)
        e = join_check(&join, err);
    Dp__Join *copy = e ? NULL : join_copy(&join);
    parts_fini(&parts);
    if (copy)
        *ret_join = copy;
    else if (e == DP_OK)
        e = dp_fail(err, DP_NOMEM, "no memory for the description of the data");
    return e;
}
