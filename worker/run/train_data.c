/* The data of a training run. Thread: main. */
#include "worker/run/train_data.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "worker/model/choose_labels.h"
#include "worker/model/labels.h"
#include "worker/run/schema_told.h"
#include "worker/run/weights.h"

static struct data_blocks_facts facts_of(const struct data *data)
{
    return (struct data_blocks_facts){.name = data->name,
                                      .rows = data->rows,
                                      .features = data->features,
                                      .sparse = data_is_sparse(data),
                                      .found = data};
}

static dp_err read_file(const struct train *t, const char *role, const struct data_source *source,
                        struct data *ret_data, dp_error *err)
{
    uint64_t begin_ms = mono_ms();
    dp_err e = data_read(source, ret_data, err);
    if (e)
        return e;
    const struct data_blocks_facts facts = facts_of(ret_data);
    report_data(&t->report, role, &facts, (double)(mono_ms() - begin_ms) / 1000);
    return DP_OK;
}

/* --memory-limit: the order of the rows has to be such that a part of them will do for a while. */
static dp_err open_blocks(struct train *t, const struct data_source *source, dp_error *err)
{
    const dp_job *job = dp_client_job(t->client);
    const struct data_blocks_shape shape = {job->block_rows, job->window_blocks, t->opts->data.memory_limit_mib << 20};
    uint64_t begin_ms = mono_ms();
    dp_err e = weights_check_blocks(job, err);
    if (e)
        return e;
    if (job->block_rows == 0)
        return dp_fail(err, DP_USAGE, "option --memory-limit is for jobs of dp-server --shuffle block");
    e = data_blocks_open(source, &shape, &t->blocks, err);
    if (e)
        return e;
    const struct data_blocks_facts facts = data_blocks_facts(t->blocks);
    t->train_data = (struct data){.name = strdup(facts.name), .rows = facts.rows, .features = facts.features};
    report_data(&t->report, "train", &facts, (double)(mono_ms() - begin_ms) / 1000);
    return t->train_data.name ? DP_OK : dp_fail(err, DP_NOMEM, "out of memory");
}

static dp_err read_train(struct train *t, const struct data_source *source, dp_error *err)
{
    if (t->opts->data.memory_limit_mib)
        return open_blocks(t, source, err);
    dp_err e = read_file(t, "train", source, &t->train_data, err);
    return e ? e : weights_check_data(dp_client_job(t->client), &t->train_data, err);
}

const struct data *train_data_found(const struct train *t)
{
    return t->blocks ? data_blocks_facts(t->blocks).found : &t->train_data;
}

/* Evaluation data are matched with the training data, by the names of the columns, and have to be as wide. */
static dp_err read_eval(struct train *t, struct data_source *source, dp_error *err)
{
    const struct data_options *o = &t->opts->data;
    const dp_job *job = dp_client_job(t->client);
    t->has_eval = t->report.evaluates = true;
    t->eval_schema = train_data_found(t)->schema; /* borrowed */
    t->eval_schema.count = job->features ? job->features : t->train_data.features;
    source->path = o->eval;
    source->labels_path = o->eval_labels;
    source->features = t->eval_schema.count;
    source->want = &t->eval_schema;
    source->want_of = "the training set";
    source->extra_option = true;
    source->extra_ignored = o->extra_features == 1;
    if (t->eval_schema.format == SCHEMA_CSV)
        source->label_column = NULL; /* it is where the training data's was, or has its name */
    dp_err e = read_file(t, "eval", source, &t->eval_data, err);
    return e ? e : weights_check_data(job, &t->eval_data, err);
}

static dp_err read_data(struct train *t, dp_error *err)
{
    const struct data_options *o = &t->opts->data;
    const dp_job *job = dp_client_job(t->client);
    struct data_source source = {.path = o->data,
                                 .format = (enum data_format)o->format,
                                 .header = (enum data_header)o->header,
                                 .label_column = o->label_column,
                                 .ignore = o->ignore,
                                 .labels_path = o->labels,
                                 .features = job->features,
                                 .hash_bits = job->hash_bits,
                                 .hash_seed = job->seed,
                                 .want = schema_of_job(job, &t->job_schema),
                                 .want_of = "the job",
                                 .label_use = model_label_use(t->model),
                                 .stop = t->opts->stop};
    if (job->evaluate && !o->eval)
        return dp_fail(err, DP_USAGE, "this job evaluates: give --eval FILE");
    dp_err e = read_train(t, &source, err);
    if (e || !o->eval)
        return e;
    return read_eval(t, &source, err);
}

const struct label_set *train_data_labels(const struct train *t)
{
    return t->blocks ? data_blocks_facts(t->blocks).labels : t->train_data.label_set;
}

static dp_err find_labels(struct train *t, dp_error *err)
{
    const dp_job *job = dp_client_job(t->client);
    struct label_list names = {0};
    if (!t->model->classifies)
        return DP_OK;
    char notice[CHOOSE_NOTICE_MAX];
    if (labels_mixed(train_data_labels(t), t->train_data.name, notice))
        report_notice(&t->report, notice);
    dp_err e = label_list_take(NULL, job->labels_asked, job->labels_asked_count, &names, err);
    const struct labels_wish wish = {.local = job->local, .classes = job->classes_asked, .names = &names};
    if (!e)
        e = choose_labels(t->model, &wish, train_data_labels(t), t->train_data.name, &t->labels, err);
    label_list_fini(&names);
    return e;
}

/* The server warns of these; so does this worker, because its log may be all that is read. */
static void look_at_data(struct train *t)
{
    data_look_labels(&t->train_data, &t->train_look);
    data_look_scales(&t->train_data, (const char *const *)t->train_data.schema.names, &t->train_look);
    if (t->has_eval)
        data_look_labels(&t->eval_data, &t->eval_look);
    if (t->train_look.scales[0])
        report_scales(&t->report, t->train_data.name, t->train_look.scales);
}

dp_err train_data_describe(struct train *t, dp_error *err)
{
    const dp_job *job = dp_client_job(t->client);
    t->model = model_find(job->model);
    if (!t->model)
        return dp_fail(err, DP_MODEL, "the server's job is of model '%s'; this dp-worker knows %s", job->model,
                       model_names());
    dp_err e = read_data(t, err);
    if (!e)
        e = find_labels(t, err);
    if (e)
        return e;
    look_at_data(t);
    t->work.spec = (struct model_spec){
        .features = job->features ? job->features : t->train_data.features,
        .classes = t->model->multiclass ? (uint32_t)t->labels.count : 0,
        .intercept = job->intercept,
        .table = weights_are_table(job),
    };
    return t->model->declare(&t->work.spec, &t->tensors, err);
}

bool train_data_differ(const struct train *t)
{
    struct schema job;
    const struct schema *ours = &train_data_found(t)->schema, *theirs = schema_of_job(dp_client_job(t->client), &job);
    bool same = theirs && theirs->names && theirs->count == ours->count;
    for (uint64_t i = 0; same && i < ours->count; i++)
        same = strcmp(ours->names[i], theirs->names[i]) == 0;
    return theirs && theirs->names && !same;
}

void train_data_fini(struct train *t)
{
    data_fini(&t->train_data);
    data_blocks_free(&t->blocks);
    data_fini(&t->eval_data);
    touched_free(&t->touched);
    free(t->note);
    label_list_fini(&t->labels);
    free(t->block_map);
    free(t->train_targets);
    free(t->eval_targets);
}
