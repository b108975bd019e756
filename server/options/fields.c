/* The members of the status document and of the events. Thread: any. */
#include "server/options/fields.h"

#include "common/base/util.h"
#include "server/shard/counters.h"

#define INTEGER FIELD_INTEGER
#define NUMBER FIELD_NUMBER
#define TEXT FIELD_TEXT
#define BOOLEAN FIELD_BOOLEAN
#define OBJECT FIELD_OBJECT
#define LIST FIELD_LIST
#define MAP FIELD_MAP
#define OR_NULL FIELD_NULL
#define MAYBE FIELD_MAYBE

static const struct field STATUS[] = {
    {"status", "version", TEXT, NULL, "of dp-server"},
    {"status", "incarnation", TEXT, NULL, "random name of the job, as settled by its first worker"},
    {"status", "state", TEXT, NULL, "waiting, running, exporting, done, stopping"},
    {"status", "endpoint", TEXT, NULL, "the address of the head"},
    {"status", "model", TEXT, NULL, "--model"},
    {"status", "uptime_s", NUMBER, "s", "time since the start"},
    {"status", "init_from", TEXT | OR_NULL, NULL, "the model that the job began with; null: none, or it went on"},
    {"status", "malformed", INTEGER, NULL,
     "messages to the head that were dropped; with one shard, to the port that both share"},
    {"status", "gate", OBJECT, NULL, "connections that the gate judges"},
    {"status", "job", OBJECT | OR_NULL, NULL, "the job; null until the first worker has joined"},
    {"status", "progress", OBJECT, NULL, "steps, losses, times"},
    {"status", "update", OBJECT | OR_NULL, NULL, "rule, rates and terms of the open step"},
    {"status", "report", OBJECT | OR_NULL, NULL,
     "of the last step that had one: an epoch's last, or every 100th if local"},
    {"status", "balance", OBJECT, NULL, "slots by speed, and copies of late slots"},
    {"status", "waits", OBJECT | OR_NULL, NULL, "the open step; null unless running"},
    {"status", "export", OBJECT | OR_NULL, NULL, "the model file; null without --export"},
    {"status", "checkpoints", OBJECT | OR_NULL, NULL, "null without --checkpoint-dir"},
    {"status", "warnings", LIST | TEXT, NULL, "warnings of training that goes nowhere"},
    {"status", "dropped", OBJECT, NULL, "slots that were left out of steps"},
    {"status", "staleness", OBJECT, NULL, "of all applied gradients"},
    {"status", "workers", LIST | OBJECT, NULL, "those in training first, as many as fit into 224 KiB, some 750"},
    {"status", "workers_left_out", INTEGER, NULL, "number of workers that are not listed"},
    {"status", "shards", LIST | OBJECT, NULL, "ranges, staleness and counters"},
    {"status", "shards_left_out", INTEGER, NULL, "number of shards that are not listed"},

    {"gate", "strangers", INTEGER, NULL, "connections without a session"},
    {"gate", "closed", MAP | INTEGER, NULL, "connections that were closed, by kind (server/zmtp/README.md)"},

    {"job", "local", BOOLEAN, NULL, "workers have data of their own"},
    {"job", "features", INTEGER | OR_NULL, NULL, "columns"},
    {"job", "classes", INTEGER, NULL, "classes; 0 for a model without"},
    {"job", "classes_asked", INTEGER | OR_NULL, NULL, "--classes"},
    {"job", "labels", LIST | TEXT, NULL, "class -> label, the first 100"},
    {"job", "intercept", BOOLEAN, NULL, "--intercept"},
    {"job", "sparse", BOOLEAN, NULL, "--sparse"},
    {"job", "hash_bits", INTEGER, NULL, "--hash-bits; 0: features are not hashed"},
    {"job", "batch", INTEGER | OR_NULL, "rows",
     "the minibatch; if local, of all workers when none is missing; null of --model free"},
    {"job", "slots", INTEGER, NULL, "--slots"},
    {"job", "consistency", TEXT, NULL, "mode of the open step"},
    {"job", "consistency_next", OBJECT | OR_NULL, NULL, "the mode that dp-ctl has set, until it begins"},
    {"job", "seed", INTEGER | TEXT, NULL, "--seed; a text from 2^63 on"},
    {"job", "train_steps", INTEGER | OR_NULL, NULL, "null where workers decide when the job ends"},
    {"job", "train_rows", INTEGER | OR_NULL, "rows", "null if local"},
    {"job", "eval_rows", INTEGER, "rows", "of --eval"},
    {"job", "theta_elems", INTEGER, NULL, "parameters"},
    {"job", "optimizer", TEXT, NULL, "--optimizer"},
    {"job", "lr", NUMBER, NULL, "the rate as set"},
    {"job", "momentum", NUMBER, NULL, "--momentum"},
    {"job", "l2", NUMBER, NULL, "--l2 of all tensors"},
    {"job", "data", TEXT, NULL, "name of the training data"},

    {"job.consistency_next", "mode", TEXT, NULL, "as consistency"},
    {"job.consistency_next", "step", INTEGER, NULL, "its first step"},

    {"progress", "step", INTEGER, NULL, "steps so far, evaluation steps included"},
    {"progress", "total_steps", INTEGER | OR_NULL, NULL, "of the job; null where workers decide when it ends"},
    {"progress", "train_step", INTEGER, NULL, "training steps so far"},
    {"progress", "epoch", INTEGER | OR_NULL, NULL, "null if local: each worker has epochs of its own"},
    {"progress", "epochs", INTEGER | OR_NULL, NULL, "of the job; null if local"},
    {"progress", "loss", NUMBER | OR_NULL, NULL, "of the last epoch"},
    {"progress", "eval_loss", NUMBER | OR_NULL, NULL, "of the last evaluation"},
    {"progress", "eval_accuracy", NUMBER | OR_NULL, NULL, "of the last evaluation, 0 to 1"},
    {"progress", "samples_per_s", NUMBER | OR_NULL, "1/s", "speed of the last seconds"},
    {"progress", "elapsed_s", NUMBER | OR_NULL, "s", "time of training so far"},
    {"progress", "eta_s", NUMBER | OR_NULL, "s", "time to the end; null where workers decide when the job ends"},
    {"progress", "waiting_for", TEXT | OR_NULL, NULL, "the reason why no step is under way"},

    {"update", "optimizer", TEXT, NULL, "update rule"},
    {"update", "schedule", TEXT, NULL, "--lr-schedule"},
    {"update", "base_lr", NUMBER | OR_NULL, NULL, "the rate as set"},
    {"update", "lr", NUMBER | OR_NULL, NULL, "the rate of the open step"},
    {"update", "l1", MAP | NUMBER, NULL, "strength by tensor"},
    {"update", "l2", MAP | NUMBER, NULL, "strength by tensor"},
    {"update", "group_lasso", MAP | NUMBER, NULL, "strength by tensor"},
    {"update", "decay", TEXT, NULL, "coupled, decoupled"},
    {"update", "clip_value", NUMBER, NULL, "--clip-value"},
    {"update", "clip_norm", NUMBER, NULL, "--clip-norm"},
    {"update", "delay_compensation", NUMBER, NULL, "--delay-compensation"},
    {"update", "delay_memory_mib", INTEGER, "MiB", "--delay-memory; 0: no version is kept"},
    {"update", "constraint_method", TEXT, NULL, "project, penalty, augmented"},
    {"update", "constraints", LIST | OBJECT, NULL, "each --constraint"},

    {"update.constraints[]", "kind", TEXT, NULL, "such as simplex"},
    {"update.constraints[]", "tensor", TEXT | OR_NULL, NULL, "null: all"},
    {"update.constraints[]", "violation", NUMBER | OR_NULL, NULL,
     "distance of theta from it; null before the first report"},
    {"update.constraints[]", "rho", NUMBER | OR_NULL | MAYBE, NULL, "augmented: the penalty's strength"},
    {"update.constraints[]", "multipliers", LIST | NUMBER | MAYBE, NULL, "augmented: Lagrange multipliers"},

    {"report", "train_step", INTEGER, NULL, "its training step"},
    {"report", "regularizer", NUMBER | OR_NULL, NULL, "R(theta)"},
    {"report", "violation", NUMBER | OR_NULL, NULL, "distance of theta from the constraints; null without"},
    {"report", "sparsity", NUMBER | OR_NULL, NULL, "share of exact zeros"},
    {"report", "gradient_norm", NUMBER | OR_NULL, NULL, "of the mean gradient"},
    {"report", "lr", NUMBER | OR_NULL, NULL, "the rate of the step"},

    {"balance", "mode", TEXT, NULL, "--balance"},
    {"balance", "moves", INTEGER, NULL, "slots that were moved by speed"},
    {"balance", "speculate", TEXT, NULL, "--speculate"},
    {"balance", "given", INTEGER, NULL, "copies of late slots that were given to idle workers"},
    {"balance", "won", INTEGER, NULL, "of these, copies that came first"},
    {"balance", "lost", INTEGER, NULL, "of these, copies that the first worker was before"},

    {"waits", "step", INTEGER, NULL, "the open step"},
    {"waits", "for_ms", INTEGER, "ms", "time that it has been open"},
    {"waits", "stalled", BOOLEAN, NULL, "it was reported after --stall-timeout"},
    {"waits", "owed", LIST | OBJECT, NULL, "workers that owe slots of it, 256 at most"},

    {"waits.owed[]", "worker", INTEGER, NULL, "number of the worker"},
    {"waits.owed[]", "name", TEXT, NULL, "its name"},
    {"waits.owed[]", "last_heard_ms", INTEGER, "ms", "time since anything came from it"},
    {"waits.owed[]", "slots", LIST | INTEGER, NULL, "slots that have not come"},

    {"export", "path", TEXT, NULL, "the file"},
    {"export", "state", TEXT, NULL, "none, writing, waiting (for another try), written"},
    {"export", "reason", TEXT | OR_NULL, NULL, "the reason of the last failed try"},
    {"export", "tries", INTEGER, NULL, "tries that failed"},
    {"export", "left_s", NUMBER | OR_NULL, "s", "time until no other try follows"},

    {"checkpoints", "dir", TEXT, NULL, "--checkpoint-dir"},
    {"checkpoints", "training_step", INTEGER | OR_NULL, NULL, "training steps of the last one; null: there is none"},
    {"checkpoints", "age_s", NUMBER | OR_NULL, "s", "time since it was made here; null: it was not"},
    {"checkpoints", "state", TEXT, NULL, "idle, cutting (a step is awaited or being written), writing"},
    {"checkpoints", "error", TEXT | OR_NULL, NULL, "the reason of the last failed try; null once one has not"},

    {"dropped", "steps", INTEGER, NULL, "steps that slots were left out of"},
    {"dropped", "slots", INTEGER, NULL, "these slots"},
    {"dropped", "samples", INTEGER, NULL, "their samples"},

    {"staleness shards[].staleness", "commits", INTEGER, NULL, "gradients that were applied"},
    {"staleness shards[].staleness", "mean", NUMBER | OR_NULL, "steps", "mean staleness"},
    {"staleness shards[].staleness", "max", INTEGER, "steps", "the largest staleness"},
    {"staleness shards[].staleness", "buckets", LIST | INTEGER, NULL,
     "numbers of those with 0, 1, 2 to 3, 4 to 7, 8 to 15, ... steps"},

    {"workers[]", "id", INTEGER, NULL, "number of the process; a restarted one of the same --name has it again"},
    {"workers[]", "attempt", INTEGER, NULL, "counts the starts under one name"},
    {"workers[]", "name", TEXT, NULL, "--name, or host:pid"},
    {"workers[]", "transport", TEXT, NULL, "tcp, ipc, shm"},
    {"workers[]", "state", TEXT, NULL, "reading data, training, hung"},
    {"workers[]", "pid", INTEGER, NULL, "on its host"},
    {"workers[]", "slots", LIST | INTEGER, NULL, "slots that it holds"},
    {"workers[]", "step", INTEGER, NULL, "its step"},
    {"workers[]", "samples", INTEGER, NULL, "computed so far"},
    {"workers[]", "samples_per_s", NUMBER | OR_NULL, "1/s", "speed of the last seconds"},
    {"workers[]", "slots_per_s", NUMBER | OR_NULL, "1/s", "speed while it computes"},
    {"workers[]", "threads", INTEGER, NULL, "--threads"},
    {"workers[]", "last_heartbeat_ms", INTEGER, "ms", "time since its last heartbeat"},

    {"shards[]", "id", INTEGER, NULL, "from 0"},
    {"shards[]", "endpoint", TEXT, NULL, "its address"},
    {"shards[]", "first", INTEGER | MAYBE, NULL, "its first parameter; the job must be settled"},
    {"shards[]", "count", INTEGER | MAYBE, NULL, "number of its dense parameters; likewise"},
    {"shards[]", "slices", INTEGER | MAYBE, NULL, "slices of dense parameters; likewise"},
    {"shards[]", "parts", INTEGER | MAYBE, NULL, "parts of tables; likewise"},
    {"shards[]", "staleness", OBJECT, NULL, "of the gradients that it applied"},
#define COUNT(name, unit, meaning) {"shards[]", #name, INTEGER, unit, meaning},
#define TIME(name, meaning) {"shards[]", #name "_s", NUMBER, "s", meaning},
    SHARD_COUNTERS(COUNT, COUNT, TIME, COUNT)};

#define ENDS "stopped diverged failed"
#define ROWS "epoch done stopped diverged failed"

static const struct field EVENTS[] = {
    {"data", NULL, 0, NULL, "the first worker's data"},
    {"data", "event", TEXT, NULL, "data"},
    {"data", "file", TEXT, NULL, "as the worker calls it"},
    {"data", "rows", INTEGER | OR_NULL, NULL, "null of workers with data of their own"},
    {"data", "features", INTEGER, NULL, "columns"},
    {"data", "label_column", TEXT | INTEGER | OR_NULL, NULL, "the label's column of CSV: name, or number from 0"},
    {"data", "note", TEXT | MAYBE, NULL, "an assumption about the data"},

    {"warning", NULL, 0, NULL, "training that goes nowhere (deploy/README.md has the kinds)"},
    {"warning", "event", TEXT, NULL, "warning"},
    {"warning", "kind", TEXT, NULL, "such as rises"},
    {"warning", "text", TEXT, NULL, "with the remedy"},
    {"warning", "step", INTEGER, NULL, "training steps so far"},

    {"checkpoint", NULL, 0, NULL, "a checkpoint is whole (--checkpoint-dir)"},
    {"checkpoint", "event", TEXT, NULL, "checkpoint"},
    {"checkpoint", "step", INTEGER, NULL, "training steps that it has"},
    {"checkpoint", "path", TEXT, NULL, "its folder"},
    {"checkpoint", "bytes", INTEGER, "bytes", "of its files"},
    {"checkpoint", "seconds", NUMBER, "s", "time that it took, with the wait for its step"},

    {"left_out", NULL, 0, NULL, "standard output was not read"},
    {"left_out", "event", TEXT, NULL, "left_out"},
    {"left_out", "lines", INTEGER, NULL, "lines that are missing here"},
    {"left_out", "reason", TEXT, NULL, "standard output was not read"},

    {ROWS, NULL, 0, NULL, "an epoch, or every 100th step of workers with data of their own; the end"},
    {ROWS, "event", TEXT, NULL, "epoch; at the end done, stopped, diverged or failed"},
    {ROWS, "epoch", INTEGER | OR_NULL, NULL, "null of workers with data of their own"},
    {ROWS, "step", INTEGER, NULL, "training steps so far; 0 before the job has begun"},
    {ROWS, "loss", NUMBER | OR_NULL, NULL, "mean over the epoch's minibatches"},
    {ROWS, "eval_loss", NUMBER | OR_NULL, NULL, "at the parameters after the epoch"},
    {ROWS, "eval_accuracy", NUMBER | OR_NULL, NULL, "likewise, 0 to 1"},
    {ROWS, "samples_per_s", NUMBER | OR_NULL, "1/s", "speed of the last seconds; at the end of the whole training"},
    {ROWS, "elapsed_s", NUMBER | OR_NULL, "s", "time of training so far"},
    {ROWS, "regularizer", NUMBER | OR_NULL | MAYBE, NULL, "R(theta), of the last report; the members below as well"},
    {ROWS, "objective", NUMBER | OR_NULL | MAYBE, NULL, "loss + regularizer"},
    {ROWS, "violation", NUMBER | OR_NULL | MAYBE, NULL, "distance of theta from the constraints, if there are any"},
    {ROWS, "sparsity", NUMBER | OR_NULL | MAYBE, NULL, "share of exact zeros"},
    {ROWS, "gradient_norm", NUMBER | OR_NULL | MAYBE, NULL, "of the mean gradient"},
    {ROWS, "lr", NUMBER | OR_NULL | MAYBE, NULL, "learning rate"},

    {"done", NULL, 0, NULL, "the job is done"},
    {"done", "model", TEXT | OR_NULL, NULL, "path of the model file"},
    {"done", "commits", INTEGER, NULL, "gradients that were applied"},
    {"done", "staleness_mean", NUMBER | OR_NULL, "steps", "as in the status document"},
    {"done", "staleness_max", INTEGER, "steps", "likewise"},
    {"done", "staleness_buckets", LIST | INTEGER, NULL, "likewise"},
    {"done", "samples", INTEGER, NULL, "samples that counted"},
    {"done", "dropped_slots", INTEGER, NULL, "slots that were left out"},
    {"done", "dropped_samples", INTEGER, NULL, "their samples"},
    {"done", "reason", OR_NULL, NULL, "always null"},
    {"done", "exit_code", INTEGER, NULL, "always 0"},

    {ENDS, NULL, 0, NULL,
     "ended by a signal before the job was done; by a number that is not finite; by anything else"},
    {ENDS, "model", TEXT | OR_NULL, NULL, "path of the model file"},
    {ENDS, "reason", TEXT, NULL, "the signal; the value that is no finite number; the message on stderr"},
    {ENDS, "exit_code", INTEGER, NULL, "of the process (deploy/README.md has them)"},
};

const struct field_table server_pages[SERVER_PAGES] = {
    {"status", "members of the document that dp-ctl status --json prints", STATUS, ARRAY_LEN(STATUS)},
    {"events", "members of the objects that --json prints", EVENTS, ARRAY_LEN(EVENTS)},
};
