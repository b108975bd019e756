/* A client of the mini server that computes what is known beforehand, for tests. Thread: the test's. */
#ifndef DP_TESTS_UNIT_SUPPORT_MINI_CLIENT_H
#define DP_TESTS_UNIT_SUPPORT_MINI_CLIENT_H

#include "tests/unit/support/mini_server.h"
#include "worker/client/state.h"

enum { ELEMS = MINI_ALL * MINI_ELEMS };

/* The data and the model that a worker brings to the mini server's job. */
extern const dp_dataset MINI_DATA;
extern const dp_model MINI_MODEL;

/* Whether a client has told of something with this in it, and how often clients have told of anything. */
bool noticed(const char *part);
size_t notice_count(void);

dp_config config_for(const char *server);
/* With short waits. */
dp_client *connect_to(const struct mini *mini);
dp_client *join_to(const struct mini *mini);

/* A server without options that runs. */
struct mini *mini_run(uint64_t steps, bool evaluate);
/* Waits until the server has used up a wish of the test. */
void mini_wait(const atomic_int *wish);
/* The end of a test: the server is freed, and nothing else is left. */
void mini_end(struct mini **mini);
/* The same after the client has left, for the reason `err`. */
void mini_leave(struct mini **mini, dp_client **client, const dp_error *err);
/* The task that dp_next must have. */
dp_task task_next(dp_client *client);
/* Waits for the next task until the user is told that it takes long, after wait_ms; returns how dp_next ended. */
dp_error stopped_waiting(dp_client *client, uint64_t wait_ms);

/* theta after `train_steps` steps of a job that began at `first_step`. */
float theta_value(uint64_t first_step, uint64_t train_steps, size_t elem);
void expect_theta(const dp_client *client, const dp_task *task, uint64_t first_step);
void push_slot(dp_client *client, const dp_task *task, uint32_t slot);
/* All slots of a task, the last one first. */
void push_task(dp_client *client, const dp_task *task);
/* Works until the end; returns why it ended. */
dp_err work(dp_client *client, uint64_t first_step, unsigned *ret_tasks, dp_error *err);
/* Works until the job is done, after `tasks` tasks, and leaves. */
void expect_job(struct mini *mini, dp_client *client, unsigned tasks);
/* theta of the server is that of a job from step `first` on. */
void expect_sums(struct mini *mini, uint64_t first, uint64_t train_steps);

#endif
