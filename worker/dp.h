/* libdp: the client of a dp parameter server.
 *
 * A worker connects, says what data it has, and then asks for work until the job is done:
 *
 *     dp_client *c = NULL;
 *     dp_error err = {0};
 *     dp_task task;
 *     if (dp_connect(&config, &c, &err) == DP_OK && dp_join(c, &train, NULL, &model, &err) == DP_OK)
 *         while (err.code == DP_OK && dp_next(c, &task, &err) == DP_OK)
 *             for (uint32_t i = 0; err.code == DP_OK && i < task.slot_count; i++) {
 *                 dp_metrics metrics = {.count = dp_slot_rows(c, task.slots[i], NULL, 0)};
 *                 float *grad = dp_gradient(c, &err);
 *                 // ... fill grad from task.theta and the rows of task.slots[i], and add their losses to metrics ...
 *                 if (!grad || dp_push(c, task.slots[i], grad, &metrics, &err) != DP_OK)
 *                     break;
 *             }
 *     dp_leave(&c, err.code, err.text); // err.code is DP_JOB_DONE where the job is done
 *
 * A worker with data of its own, of which the server knows nothing, brings tensors only, and has one slot for as long
 * as it is there, its rank (dp-server --data-mode local, or --model free). It computes a gradient of its next
 * minibatch, of any size, and goes on with the parameters that have come of everybody's; who has no more leaves, and
 * nobody waits for it:
 *
 *     dp_client *c = NULL;
 *     dp_error err = {0};
 *     dp_task task;
 *     if (dp_connect(&config, &c, &err) == DP_OK && dp_join_free(c, &model, &err) == DP_OK &&
 *         dp_next(c, &task, &err) == DP_OK)
 *         for (uint64_t i = 0; i < minibatches; i++) {
 *             dp_metrics metrics = {.count = batch};
 *             float *grad = dp_gradient(c, &err);
 *             // ... fill grad from task.theta and the next minibatch, and add their losses to metrics ...
 *             if (!grad || dp_step(c, grad, &metrics, &task, &err) != DP_OK)
 *                 break;
 *         }
 *     dp_leave(&c, err.code, err.text); // DP_OK: it has no more data
 *
 * A call that returns DP_OK sets err.code to DP_OK and err.text to "", so that err is that of the last call. `err` may
 * be NULL. A client, a configuration or an output that is NULL is DP_USAGE.
 *
 * If the job has tables, a worker moves only rows that its slots touch: dp_model.rows says which, theta of a task
 * ends with their values, and a gradient with theirs.
 *
 * The library decides what goes to which shard, folds the gradients of neighbouring slots, resends what a lost
 * connection lost, keeps the lease alive from a thread of its own, and takes up slots of workers that died.
 *
 * fork: a client is that of the process that connected. In a forked child dp_leave frees what was inherited and returns
 * at once, without a word to the server; dp_client_job, dp_slot_rows and dp_step_rows read as before; all other calls
 * return at once as well: DP_USAGE, from dp_task_wanted 0, from dp_gradient NULL. A child that is to work connects
 * anew. Fork while no other thread is in a call of the client, or leave the child's copy alone.
 *
 * Thread: one thread uses a client at a time; different clients are independent. No call blocks for ever: dp_next
 * returns DP_UNREACHABLE when the server has not been heard of for config.server_timeout_ms. */
#ifndef DP_H
#define DP_H

#include <stddef.h>
#include <stdint.h>

#include "dp_err.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dp_client dp_client;

/* Memory shared with a server on the same host, through which parameters and gradients go without being copied: where
 * it can be had, or else dp_join fails, or never. */
typedef enum { DP_SHM_AUTO, DP_SHM_ON, DP_SHM_OFF } dp_shm;

typedef struct {
    const char *server;          /* "tcp://HOST:PORT" of the head */
    const char *name;            /* shown in status, and who is started again with it has its number back; NULL or "":
                                  * "host:pid" */
    uint64_t connect_timeout_ms; /* dp_connect tries for so long, with backoff; 0: 30 s */
    uint64_t server_timeout_ms;  /* longest silence of the server later on; 0: 60 s */
    uint32_t threads;            /* threads the worker computes with (told to the server); 0: 1 */
    const volatile int *stop;    /* becomes non-zero (by a signal handler): waits end with DP_STOPPED; may be NULL */
    /* Told of trouble and recovery ("cannot reach tcp://..., retrying"), one line each; may be NULL. From the calling
     * thread. */
    void (*notice)(void *arg, const char *text);
    void *notice_arg;
    dp_shm shm;
    /* File of this user's secret, by which a server of the same user on this host knows us; NULL: that of the
     * environment's DP_SECRET_FILE, else ~/.config/dp/secret. */
    const char *secret_file;
} dp_config;

/* A data set as a worker has read it; every worker of a job must have the same one. */
typedef struct {
    const char *name;
    uint64_t rows;
    uint64_t features;
    uint64_t fingerprint; /* hash of the parsed content */
    const double *labels; /* distinct labels in ascending order (classification), borrowed for the call; may be NULL */
    size_t label_count;
    /* For the server's warnings about training that goes nowhere; nothing is computed with them. */
    double zero_loss;   /* mean loss of theta = 0 over the rows; 0: not known */
    uint64_t majority;  /* rows of the most frequent label; 0: not known */
    const char *scales; /* columns whose scales differ by orders of magnitude, at most 512 bytes; NULL: none */
} dp_dataset;

/* The columns of the data: the server keeps those of the first worker, refuses workers whose names differ, and
 * writes them to the model file. Zeroed: nothing is known. Borrowed for the call. */
typedef struct {
    uint32_t format;            /* 0 not known, 1 LIBSVM, 2 CSV, 3 IDX */
    const char *const *names;   /* [name_count] of the features, in their order: printable UTF-8 of 1 to 255 bytes */
    size_t name_count;          /* the number of features, or 0: they have no names; at most 65536 */
    const char *label;          /* name of the label's column; NULL: it has none */
    uint64_t fields;            /* CSV: columns of the file; 0: not known */
    uint64_t label_at;          /* CSV: the label's number among them, from 0; UINT64_MAX: there is no label */
    const char *const *ignored; /* [ignored_count] columns that are not read, by name or number */
    size_t ignored_count;
    const char *note; /* assumptions made in reading the data, for people, at most 500 bytes; NULL: none */
} dp_schema;

/* The first values of a tensor. normal: N(0, init_arg^2). uniform: glorot sqrt(6/(in+out)), he sqrt(6/in) (Glorot &
 * Bengio 2010, He et al. 2015). All are seeded by the job, so every server computes the same values. */
typedef enum { DP_INIT_ZEROS, DP_INIT_CONSTANT, DP_INIT_NORMAL, DP_INIT_GLOROT_UNIFORM, DP_INIT_HE_UNIFORM } dp_init;

/* A dense tensor is moved as a whole. A table is moved by rows, which have 64-bit ids: 0 .. shape[0] - 1 and the other
 * dimensions (DP_TABLE), or any (DP_HASHED: rows are there once they were pushed, and shape is that of a row). */
typedef enum { DP_DENSE, DP_TABLE, DP_HASHED } dp_kind;

typedef struct {
    const char *name;
    uint32_t rank;
    const uint64_t *shape; /* row-major, in elements: `rank` of them, >= 1; NULL is DP_USAGE. A number is {1}. */
    dp_init init;
    float init_arg;
    int regularized; /* 0 for intercepts: left out of R */
    uint64_t offset; /* in theta, elements; 0 for tables; ignored by dp_join */
    uint64_t elems;  /* product of shape, of tables that of a row; ignored by dp_join */
    dp_kind kind;
} dp_tensor;

/* Rows of a table by their ids, strictly ascending. */
typedef struct {
    const uint64_t *ids;
    uint64_t count;
} dp_rows;

/* A question: the rows of the job's tables that these slots touch. */
typedef struct {
    uint64_t tag; /* of the question: it comes back with the task that has its rows */
    uint64_t step;
    const uint32_t *slots; /* ascending */
    uint32_t slot_count;   /* >= 1 */
} dp_ask;

/* Needs of the worker's model: the server knows tensors but no models. Borrowed for the call. */
typedef struct {
    const dp_tensor *tensors;
    uint32_t tensor_count;
    uint32_t classes;     /* 0 where the model has none */
    const double *labels; /* class -> label; not read where there are label_texts */
    size_t label_count;   /* of either list */
    /* Needed where there are tables: fills rows[i] for the i-th table, in the order of the tensors; the ids are copied.
     * The answer is a function of the question's step and slots alone. Asked from within dp_next and dp_push, also for
     * the step after the one at hand, so that rows arrive before they are needed. Its error ends that call. */
    dp_err (*rows)(void *arg, const dp_ask *ask, dp_rows *rows, dp_error *err);
    void *rows_arg;
    /* class -> label as text: words, or numbers as they are to be shown. Printable UTF-8 of 1 to 128 bytes each. NULL:
     * labels are the numbers above. */
    const char *const *label_texts;
    const dp_schema *schema; /* of the training data; NULL: not known */
} dp_model;

/* The job as the server described it. Borrowed from the client until dp_leave. Before dp_join, features, classes,
 * labels, rows and tensors may be 0: they are settled by the data of the first worker. train_steps and local_epochs may
 * change in dp_next, where a server went on from a checkpoint with other --steps or --epochs. */
typedef struct {
    const char *model;
    uint64_t features;
    uint32_t classes;
    int intercept;
    int evaluate; /* workers must bring an evaluation set */
    uint64_t batch;
    uint32_t slots;
    /* Not 0: the rows of an epoch come in an order by blocks of block_rows, of which window_blocks are mixed at a time:
     * who holds those has what is needed for a while. */
    uint64_t block_rows;
    uint32_t window_blocks;
    int local;             /* workers have data of their own and one slot each: dp_join_free. batch and train_rows mean
                            * nothing then, nor does train_steps where local_epochs is not 0: nobody knows how many; */
    uint64_t local_rows;   /* the job's wishes: rows of a worker's minibatch, */
    uint64_t local_epochs; /* passes over its data; 0: until DP_JOB_DONE */
    uint64_t seed;
    uint64_t train_steps;
    uint64_t train_rows;
    uint64_t eval_rows;
    uint64_t theta_elems; /* of the dense tensors */
    const dp_tensor *tensors;
    uint32_t tensor_count;
    const double *labels; /* class -> label, as settled; NaN for words */
    size_t label_count;
    int sparse;                     /* the job's model is to use a table where its weights go by features */
    uint32_t hash_bits;             /* 0, or features are hashed to 2^hash_bits columns, with the seed */
    const dp_schema *schema;        /* of the data that settled the job; NULL: not known */
    const char *const *label_texts; /* [label_count] class -> label as it is shown, a number or a word */
    /* The job's wishes, which data do not change: dp-server --classes C (0: not given), and --label-names in the order
     * of labels: numbers ascending, then words. */
    uint32_t classes_asked;
    const char *const *labels_asked;
    size_t labels_asked_count;
} dp_job;

/* Sums over the samples of one slot. */
typedef struct {
    uint64_t count;   /* at most 2^40. After dp_join, what dp_slot_rows says; else the server refuses the slot */
    double loss;      /* 0 where there are no samples */
    uint64_t correct; /* at most count */
} dp_metrics;

typedef enum { DP_TRAIN = 0, DP_EVAL = 1 } dp_task_kind;

/* Slots to compute now. Borrowed until the next dp_next. */
typedef struct {
    dp_task_kind kind;
    uint64_t step;         /* of the job, evaluation steps included */
    const float *theta;    /* theta of exactly this step, theta_elems floats, cache-line aligned */
    const uint32_t *slots; /* ascending */
    uint32_t slot_count;   /* >= 1 */
    /* The job's, and the values of `rows`: dense tensors end to end, then of each table row after row. */
    uint64_t theta_elems;
    const dp_rows *rows; /* of each table, those that these slots touch at least; NULL without tables */
    uint64_t tag;        /* of the question that the rows answer */
} dp_task;

/* Connects and says hello, trying again with backoff until the deadline. DP_UNREACHABLE, DP_BUSY (the server has had no
 * room for us until then), DP_VERSION, DP_REFUSED (also where the server is another user's), DP_USAGE (bad endpoint).
 */
DP_API DP_MUST_CHECK dp_err dp_connect(const dp_config *config, dp_client **ret_client, dp_error *err);
DP_API const dp_job *dp_client_job(const dp_client *client);
/* Brings data and the model's tensors; `eval` may be NULL. The first worker's settle the job. DP_REFUSED, naming the
 * difference, if another worker's differ. DP_INCARNATION: what dp_connect said was settled by workers that left before
 * the first step was complete, and no longer holds; dp_leave, connect again and read the data by what is said then. */
DP_API DP_MUST_CHECK dp_err dp_join(dp_client *client, const dp_dataset *train, const dp_dataset *eval,
                                    const dp_model *model, dp_error *err);
/* The same for a worker with data of its own: it brings the model's tensors, those of the first such worker settle the
 * job, and takes a rank. Training begins when all ranks are taken, or after the server's --stall-timeout. DP_REFUSED
 * where the job is of the other kind; waits while all ranks are taken, DP_BUSY at the deadline. */
DP_API DP_MUST_CHECK dp_err dp_join_free(dp_client *client, const dp_model *model, dp_error *err);
/* Waits for work. DP_JOB_DONE at the end; DP_UNREACHABLE, DP_SHUTDOWN, DP_STOPPED. */
DP_API DP_MUST_CHECK dp_err dp_next(dp_client *client, dp_task *ret_task, dp_error *err);
/* Whether the current task is still wanted; polls without waiting. Worth asking between long slots. */
DP_API int dp_task_wanted(dp_client *client);
/* Rows of the training data (of the evaluation data in a DP_EVAL task) that a slot of the current task holds, in order:
 * how many there are; the first `max` of them go to rows. 0 for a slot without rows and without a task. A worker
 * whose data are in no such order may take any other rule that gives each row to one slot, and each slot as many. */
DP_API uint64_t dp_slot_rows(const dp_client *client, uint32_t slot, uint64_t *rows, uint64_t max);
/* The same for any step of the job: what dp_model.rows may go by. */
DP_API uint64_t dp_step_rows(const dp_client *client, uint64_t step, uint32_t slot, uint64_t *rows, uint64_t max);
/* A buffer of the task's theta_elems floats, cache-line aligned, contents undefined. It belongs to the caller until
 * dp_push or dp_step takes it, or dp_gradient_free; what is left is freed by dp_leave. NULL when out of memory. */
DP_API float *dp_gradient(dp_client *client, dp_error *err);
/* Accepts NULL, and does nothing with a gradient that dp_push has taken. */
DP_API void dp_gradient_free(dp_client *client, float *grad);
/* Hands in a slot of the current task: the sum (not the mean) of the gradients of its samples, laid out as theta is; 0
 * where it does not touch a row of the task. grad is one of dp_gradient since the slot's task came; for DP_EVAL tasks
 * it is NULL. Returns at once. Slots may be handed in in any order.
 * Takes grad, whether it succeeds or fails: the caller neither uses nor frees it afterwards. Memory that is not of
 * dp_gradient is refused with DP_USAGE and stays the caller's.
 * DP_DATA, naming the element, where grad has an infinity or a NaN and metrics->loss is finite: the slot is still owed
 * then, and may be handed in again. If the loss is not finite either, it is taken and the job ends as diverged; so
 * it does where a gradient of more than 2^20 values, which is not looked at here, makes theta infinite or NaN. */
DP_API DP_MUST_CHECK dp_err dp_push(dp_client *client, uint32_t slot, float *grad, const dp_metrics *metrics,
                                    dp_error *err);
/* After dp_join_free: dp_push of the task's one slot, the sum of the gradients of a minibatch, which is divided by the
 * samples of all workers' minibatches together (the sum of metrics->count); then dp_next. When it returns DP_OK, the
 * step is part of the parameters. A step in whose midst the session was lost may not be: then others have gone on, and
 * the task that comes back is that of a later step, or of the same one to compute again. */
DP_API DP_MUST_CHECK dp_err dp_step(dp_client *client, float *grad, const dp_metrics *metrics, dp_task *ret_task,
                                    dp_error *err);
/* Says goodbye (DP_OK, or the code and text of what went wrong, for the server's log) and frees the client. Accepts
 * NULL. In a forked child it frees the client only. */
DP_API void dp_leave(dp_client **client, dp_err reason, const char *text);

DP_API const char *dp_version(void);

#ifdef __cplusplus
}
#endif
#endif
