/* Slots computed side by side; see slot_pool.h.
 * Invariant: there are as many places as lanes, and at most one of them for each slot given: it is free, waits for a
 * thread, is computed, or done, in this order. */
#include "worker/run/slot_pool.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/util.h"
#include "worker/model/scratch.h"

enum place_state { PLACE_FREE, PLACE_WAITING, PLACE_COMPUTING, PLACE_DONE };

struct place {
    enum place_state state;
    struct slot_job job;
};

/* Memory of one thread. */
struct lane {
    struct slot_pool *pool;
    pthread_t thread;
    struct model_scratch *scratch;
    uint64_t *rows;           /* [rows_max] */
    struct gathered gathered; /* a slot's rows, where the data are not held whole */
    float *targets;           /* theirs, [rows_max] */
};

struct slot_pool {
    const struct slot_work *work;
    uint32_t count;   /* lanes */
    uint32_t started; /* threads that run: none with one lane */
    struct lane *lanes;
    struct place *places; /* [count] */
    size_t rows_max;
    bool ending;
    pthread_mutex_t mutex;
    pthread_cond_t given, done;
};

/* The largest slot of a step, whichever set its rows are of. */
static uint64_t largest_slot(const struct plan *plan)
{
    return MAX(plan->batch, plan->eval_rows) / plan->slots + 1;
}

/* The input of a slot: rows of data, and the model of theta. */
struct slot_input {
    const struct model_spec *spec;
    const struct data *data;
    const float *targets;
    uint64_t count; /* of lane->rows */
};

/* The slot's rows, over all columns of the data. */
static struct slot_input slot_whole(const struct lane *lane, const struct slot_job *job, const struct plan_step *at)
{
    const struct slot_work *work = lane->pool->work;
    const struct labelled *set = &work->sets[at->asks->rows];
    uint64_t first, count;
    plan_slot(&work->plan, at, job->slot, &first, &count);
    plan_rows(&work->plan, at, first, count, lane->rows);
    return (struct slot_input){&work->spec, set->data, set->targets, count};
}

/* The same where the data are read by blocks. */
static struct slot_input slot_gathered(struct lane *lane, struct slot_job *job, const struct plan_step *at)
{
    const struct slot_work *work = lane->pool->work;
    struct slot_input in = slot_whole(lane, job, at);
    const struct data *data = &lane->gathered.data;
    dp_err e = data_blocks_gather(work->blocks, lane->rows, in.count, &lane->gathered, &job->err);
    for (uint64_t i = 0; i < in.count; i++)
        lane->rows[i] = i;
    for (uint64_t i = 0; !e && i < in.count; i++)
        lane->targets[i] = work->block_map ? work->block_map[data->classes[i]] : data->labels[i];
    return (struct slot_input){&work->spec, data, lane->targets, e ? 0 : in.count};
}

/* The same over those columns whose rows of the table stand in theta. */
static struct slot_input slot_touched(const struct lane *lane, const struct slot_job *job, struct model_spec *spec)
{
    const struct touched_slot *touched = &job->touched;
    *spec = lane->pool->work->spec;
    spec->features = touched->local->data.features;
    for (uint64_t i = 0; i < touched->count; i++)
        lane->rows[i] = touched->first + i;
    return (struct slot_input){spec, &touched->local->data, touched->local->targets, touched->count};
}

static void compute(struct lane *lane, struct slot_job *job)
{
    const struct slot_work *work = lane->pool->work;
    const uint64_t begin_ns = mono_ns();
    const struct plan_step at = plan_at(&work->plan, job->step);
    struct model_spec spec;
    job->metrics = (dp_metrics){0};
    job->err.code = DP_OK;
    bool by_blocks = work->blocks && at.asks->rows == ROWS_TRAIN;
    const struct slot_input in = job->touched.local ? slot_touched(lane, job, &spec)
                                 : by_blocks        ? slot_gathered(lane, job, &at)
                                                    : slot_whole(lane, job, &at);
    if (job->err.code)
        return;
    model_answer(work->model, at.asks, in.spec, in.data, in.targets, lane->rows, in.count, job->theta, lane->scratch,
                 job->grad, &job->metrics);
    emulate_wait(&work->emulate, job->step, job->slot, begin_ns);
}

static struct place *find_place(struct slot_pool *pool, enum place_state state)
{
    for (uint32_t i = 0; i < pool->count; i++)
        if (pool->places[i].state == state)
            return &pool->places[i];
    return NULL;
}

static void *lane_run(void *arg)
{
    struct lane *lane = arg;
    struct slot_pool *pool = lane->pool;
    pthread_mutex_lock(&pool->mutex);
    while (!pool->ending) {
        struct place *place = find_place(pool, PLACE_WAITING);
        if (!place) {
            pthread_cond_wait(&pool->given, &pool->mutex);
            continue;
        }
        place->state = PLACE_COMPUTING;
        pthread_mutex_unlock(&pool->mutex);
        compute(lane, &place->job);
        pthread_mutex_lock(&pool->mutex);
        place->state = PLACE_DONE;
        pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->mutex);
    return NULL;
}

static dp_err lane_init(struct slot_pool *pool, struct lane *lane)
{
    const struct slot_work *work = pool->work;
    const struct data *train = work->sets[ROWS_TRAIN].data, *eval = work->sets[ROWS_EVAL].data;
    bool dense = work->blocks ? !data_blocks_facts(work->blocks).sparse : !data_is_sparse(train);
    dense = dense || (eval && !data_is_sparse(eval));
    lane->pool = pool;
    lane->rows = mem_array(pool->rows_max, sizeof *lane->rows);
    lane->scratch = model_scratch_new(&pool->work->spec, pool->rows_max, dense);
    lane->targets = work->blocks ? mem_array(pool->rows_max, sizeof *lane->targets) : NULL;
    return lane->rows && lane->scratch && (lane->targets || !work->blocks) ? DP_OK : DP_NOMEM;
}

static dp_err start(struct slot_pool *pool, dp_error *err)
{
    for (uint32_t i = 0; i < pool->count; i++)
        if (lane_init(pool, &pool->lanes[i]))
            return dp_fail(err, DP_NOMEM,
                           "out of memory for %u %s on slots of %zu rows; %sraise the limit of memory (ulimit -v; "
                           "a thread takes 130 MiB of it for dense data), or give dp-server more --slots",
                           pool->count, pool->count == 1 ? "thread" : "threads", pool->rows_max,
                           pool->count == 1 ? "" : "give fewer with --threads, ");
    if (pool->count == 1)
        return DP_OK;
    for (uint32_t i = 0; i < pool->count; i++) {
        if (pthread_create(&pool->lanes[i].thread, NULL, lane_run, &pool->lanes[i]))
            return dp_fail(
                err, DP_SYSTEM,
                "cannot start %u threads; give fewer with --threads, or raise the limit (ulimit -u, pids.max)",
                pool->count);
        pool->started = i + 1;
    }
    return DP_OK;
}

dp_err slot_pool_new(const struct slot_work *work, uint32_t threads, struct slot_pool **ret_pool, dp_error *err)
{
    struct slot_pool *pool = mem_array_zero(1, sizeof *pool);
    if (!pool)
        return dp_fail(err, DP_NOMEM, "out of memory");
    pool->work = work;
    pool->count = MIN(threads, work->plan.slots);
    pool->rows_max = (size_t)largest_slot(&work->plan);
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->given, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->lanes = mem_array_zero(pool->count, sizeof *pool->lanes);
    pool->places = mem_array_zero(pool->count, sizeof *pool->places);
    dp_err e = pool->lanes && pool->places ? start(pool, err) : dp_fail(err, DP_NOMEM, "out of memory");
    if (e)
        slot_pool_free(&pool);
    else
        *ret_pool = pool;
    return e;
}

uint32_t slot_pool_room(const struct slot_pool *pool)
{
    return pool->count;
}

void slot_pool_give(struct slot_pool *pool, const struct slot_job *job)
{
    pthread_mutex_lock(&pool->mutex);
    struct place *place = find_place(pool, PLACE_FREE);
    *place = (struct place){PLACE_WAITING, *job};
    pthread_cond_signal(&pool->given);
    pthread_mutex_unlock(&pool->mutex);
    if (pool->started == 0) {
        compute(&pool->lanes[0], &place->job);
        place->state = PLACE_DONE;
    }
}

struct slot_job slot_pool_take(struct slot_pool *pool)
{
    struct place *place;
    pthread_mutex_lock(&pool->mutex);
    while (!(place = find_place(pool, PLACE_DONE)))
        pthread_cond_wait(&pool->done, &pool->mutex);
    place->state = PLACE_FREE;
    struct slot_job job = place->job;
    pthread_mutex_unlock(&pool->mutex);
    return job;
}

void slot_pool_free(struct slot_pool **pool_at)
{
    struct slot_pool *pool = *pool_at;
    if (!pool)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->ending = true;
    pthread_cond_broadcast(&pool->given);
    pthread_mutex_unlock(&pool->mutex);
    for (uint32_t i = 0; i < pool->started; i++)
        pthread_join(pool->lanes[i].thread, NULL);
    for (uint32_t i = 0; pool->lanes && i < pool->count; i++) {
        model_scratch_free(&pool->lanes[i].scratch);
        free(pool->lanes[i].rows);
        free(pool->lanes[i].targets);
        gathered_fini(&pool->lanes[i].gathered);
    }
    pthread_mutex_destroy(&pool->mutex);
    pthread_cond_destroy(&pool->given);
    pthread_cond_destroy(&pool->done);
    free(pool->lanes);
    free(pool->places);
    free(pool);
    *pool_at = NULL;
}
