/* The status document that dp-ctl shows: a snapshot of the head's state as JSON. Thread: head. */
#include "server/head/status.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "common/net/transport.h"
#include "server/assign/balance.h"
#include "server/assign/drop.h"
#include "server/assign/quorum.h"
#include "server/assign/stall.h"
#include "server/head/consistency.h"
#include "server/head/counters.h"
#include "server/head/update.h"
#include "server/head/warm.h"
#include "server/result/checkpoint_say.h"
#include "server/result/doubts.h"
#include "server/result/save.h"
#include "server/talk/shared.h"

static const char *state_name(enum head_state state)
{
    static const char *const NAMES[] = {
        [HEAD_WAITING] = "waiting", [HEAD_RUNNING] = "running",   [HEAD_EXPORTING] = "exporting",
        [HEAD_DONE] = "done",       [HEAD_STOPPING] = "stopping", [HEAD_CLOSING] = "stopping",
    };
    return NAMES[state];
}

/* JSON knows neither NaN nor infinity: null. */
static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static json_t *count_if(bool known, uint64_t n)
{
    return known ? count(n) : json_null();
}

/* A seed names a run: it is a text if it is beyond JSON's integers, of which readers know 63 bits. */
static json_t *seed_json(uint64_t seed)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, seed);
    return seed <= INT64_MAX ? count(seed) : json_string(text);
}

enum { LABELS_TOLD = 100, WORKERS_BYTES = 224 << 10 };

/* Class -> label as they are written, the first ones where there are many. */
static json_t *labels_json(const struct label_list *labels)
{
    json_t *list = json_array();
    for (size_t i = 0; i < MIN(labels->count, (size_t)LABELS_TOLD); i++)
        json_array_append_new(list, json_string(labels->list[i].text));
    return list;
}

/* Of the rows of workers with data of their own nothing is known, and of a free client's minibatches neither. */
static json_t *job_json(const struct head *head)
{
    const struct job *job = &head->job;
    const struct plan *plan = &job->core.plan;
    bool local = job->core.local, batches = !local || strcmp(head->opts->model, "free") != 0;
    uint64_t batch = local ? job->wire->local_rows * plan->slots : plan->batch;
    return json_pack("{sb so so so so sb sb so so so so so so so so so so ss sf sf sf ss}", "local", local, "features",
                     count_if(job->features > 0, job->features), "classes", count(job->classes), "classes_asked",
                     count_if(head->opts->classes > 0, head->opts->classes), "labels", labels_json(&job->labels),
                     "intercept", head->opts->intercept, "sparse", head->opts->sparse, "hash_bits",
                     count(head->opts->hash_bits), "batch", count_if(batches, batch), "slots", count(plan->slots),
                     "consistency", head_consistency_json(head), "consistency_next", head_consistency_next_json(head),
                     "seed", seed_json(plan->seed), "train_steps", count_if(!job_open_ended(job), plan->train_steps),
                     "train_rows", count_if(!local, plan->train_rows), "eval_rows", count(plan->eval_rows),
                     "theta_elems", count(tensors_total(&job->core.tensors)), "optimizer", job->core.rule->name, "lr",
                     job->core.params.schedule.lr, "momentum", job->core.params.momentum, "l2",
                     strengths_of(&head->opts->setup.regularizers.l2, ""), "data", job->train.name);
}

enum { WAITING_BYTES = 700 };

/* The reason why the job waits, in words; NULL if it does not wait. */
static const char *waiting_for(const struct head *head, char buf[WAITING_BYTES])
{
    if (head->state == HEAD_WAITING)
        return head->members.count ? "the first worker to read its data" : "the first worker";
    if (head->state == HEAD_RUNNING && head->members.joined == 0 && head_begun(head))
        return "a worker: all have left";
    if (head->state == HEAD_RUNNING && !head_has_enough(head)) {
        snprintf(buf, WAITING_BYTES, "workers: %" PRIu64 " of the %" PRIu64 " of --min-workers are here",
                 head->opts->min_workers - head_missing(head), head->opts->min_workers);
        return buf;
    }
    if (head->saving->exporting && head->saving->tries > 0) {
        snprintf(buf, WAITING_BYTES, "the model to be written: %s", head->saving->err.text);
        return buf;
    }
    if (head->state == HEAD_EXPORTING)
        return "the model to be written";
    return NULL;
}

static json_t *progress_json(const struct head *head)
{
    struct progress_snapshot s;
    char buf[WAITING_BYTES];
    progress_snapshot(&head->progress, mono_ms(), &s);
    const struct plan *plan = &head->job.core.plan;
    bool settled = head->job.settled, known = !settled || !job_open_ended(&head->job);
    bool epochs = !settled || !head->job.core.local;
    return json_pack("{so so so so so so so so so so so ss?}", "step", count(head->global_low), "total_steps",
                     count_if(known, settled ? plan_total(plan) : 0), "train_step", count(s.train_step), "epoch",
                     count_if(epochs, s.epoch), "epochs", count_if(epochs, settled ? job_epochs(&head->job) : 0),
                     "loss", number(s.loss), "eval_loss", number(s.eval_loss), "eval_accuracy", number(s.eval_accuracy),
                     "samples_per_s", number(s.samples_per_s), "elapsed_s", number(s.elapsed_s), "eta_s",
                     number(s.eta_s), "waiting_for", waiting_for(head, buf));
}

static json_t *slots_json(const struct head *head, uint32_t id)
{
    json_t *slots = json_array();
    for (uint32_t k = 0; k < head->dealer.slots; k++)
        if (head->dealer.next_owner[k] == id)
            json_array_append_new(slots, count(k));
    return slots;
}

static const char *transport(const struct head *head, const struct member *member)
{
    const char *rest;
    return member->shm ? "shm" : transport_of(head->endpoint, &rest)->name;
}

static const char *member_state(const struct head *head, uint32_t id)
{
    if (head->members.list[id].state != MEMBER_JOINED)
        return "reading data";
    return speculation_hung(&head->balance->speculation, id) ? "hung" : "training";
}

static json_t *worker_json(const struct head *head, uint32_t id, uint64_t now)
{
    const struct member *m = &head->members.list[id];
    return json_pack("{so so ss ss ss so so so so so so so so}", "id", count(id), "attempt", count(m->attempt), "name",
                     m->name, "transport", transport(head, m), "state", member_state(head, id), "pid", count(m->pid),
                     "slots", slots_json(head, id), "step", count(m->step), "samples", count(m->samples),
                     "samples_per_s", number(m->samples_per_s), "slots_per_s",
                     m->slots_per_s > 0 ? number(m->slots_per_s) : json_null(), "threads", count(m->threads),
                     "last_heartbeat_ms", count(now - MIN(now, m->last_seen_ms)));
}

/* Bytes that a worker's entry takes in the text at most: those of its name, and of the rest. */
enum { WORKER_BYTES = 290, SLOT_BYTES = 5 };

static size_t worker_bytes(const json_t *worker, const struct member *m)
{
    size_t bytes = WORKER_BYTES + SLOT_BYTES * json_array_size(json_object_get(worker, "slots"));
    for (const char *c = m->name; *c; c++)
        bytes += *c == '"' || *c == '\\' ? 2 : 1;
    return bytes;
}

/* Anybody may say hello and ask for the status: the list is bounded, those that train come first. */
static json_t *workers_json(const struct head *head, bool brief, uint32_t *ret_left_out)
{
    static const enum member_state ORDER[] = {MEMBER_JOINED, MEMBER_GREETED};
    json_t *workers = json_array();
    uint64_t now = mono_ms();
    size_t left = brief ? 0 : WORKERS_BYTES;
    for (size_t o = 0; o < ARRAY_LEN(ORDER); o++)
        for (uint32_t i = 0; i < head->members.used && left > 0; i++) {
            if (head->members.list[i].state != ORDER[o])
                continue;
            json_t *worker = worker_json(head, i, now);
            size_t bytes = worker_bytes(worker, &head->members.list[i]);
            if (bytes <= left)
                json_array_append_new(workers, worker);
            else
                json_decref(worker);
            left -= MIN(bytes, left);
        }
    *ret_left_out = head->members.count - (uint32_t)json_array_size(workers);
    return workers;
}

/* Messages to the head; on a socket that it shares, of what is no message nobody knows whom it was for. */
static uint64_t malformed(const struct head *head)
{
    uint64_t count = head->talk.malformed;
    for (uint32_t s = 0; s < head->seats.count; s++) {
        const struct seat *seat = seats_at(&head->seats, s);
        count += seat->at_head ? counter_get(&seat->counters->malformed) : 0;
    }
    return count;
}

json_t *head_status(struct head *head, bool brief)
{
    char incarnation[20];
    uint32_t left_out;
    snprintf(incarnation, sizeof incarnation, "%016" PRIx64, head->job.incarnation);
    json_t *workers = workers_json(head, brief, &left_out);
    return json_pack(
        "{ss ss ss ss ss so so so so so so so so so so so so so so so so so so so}", "version", DP_VERSION_TEXT,
        "incarnation", incarnation, "state", state_name(head->state), "endpoint", head->endpoint, "model",
        head->opts->model, "uptime_s", number((double)(mono_ms() - head->started_ms) / 1000.0), "init_from",
        head_warm_json(head), "malformed", count(malformed(head)), "gate", head_gate_json(), "job",
        head->job.settled ? job_json(head) : json_null(), "progress", progress_json(head), "update",
        head->job.settled ? head_update_json(head) : json_null(), "report", head_report_json(head), "balance",
        head_balance_json(head), "waits", head_waits_json(head), "export", head_export_json(head), "checkpoints",
        head_checkpoint_json(head), "warnings", head_doubts_json(head), "dropped", head_drop_json(head), "staleness",
        head_staleness_total_json(head), "workers", workers, "workers_left_out", count(left_out), "shards",
        brief ? json_array() : head_shards_json(head), "shards_left_out", count(brief ? head->seats.count : 0));
}
