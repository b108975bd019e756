/* The members of the events of --json. Thread: any. */
#include "worker/run/fields.h"

#include "common/base/util.h"

#define INTEGER FIELD_INTEGER
#define NUMBER FIELD_NUMBER
#define TEXT FIELD_TEXT
#define BOOLEAN FIELD_BOOLEAN
#define LIST FIELD_LIST
#define MAP FIELD_MAP
#define OR_NULL FIELD_NULL
#define MAYBE FIELD_MAYBE
#define OBJECT FIELD_OBJECT

#define ENDS "stopped diverged failed"

static const struct field EVENTS[] = {
    {"data", NULL, 0, NULL, "data that were read"},
    {"data", "event", TEXT, NULL, "data"},
    {"data", "role", TEXT, NULL, "train, eval"},
    {"data", "file", TEXT, NULL, "its path"},
    {"data", "rows", INTEGER, NULL, "rows"},
    {"data", "features", INTEGER, NULL, "columns"},
    {"data", "sparse", BOOLEAN, NULL, "kept as sparse rows"},
    {"data", "seconds", NUMBER, "s", "time that reading took"},
    {"data", "label_column", TEXT | INTEGER | OR_NULL, NULL, "the label's column of CSV: name, or number from 0"},

    {"joined", NULL, 0, NULL, "the job that the worker is in now"},
    {"joined", "event", TEXT, NULL, "joined"},
    {"joined", "server", TEXT, NULL, "endpoint"},
    {"joined", "model", TEXT, NULL, "the server's --model"},
    {"joined", "parameters", INTEGER, NULL, "elements of theta"},
    {"joined", "batch", INTEGER, "rows", "the minibatch; with data of its own, rows of its minibatches"},
    {"joined", "slots", INTEGER, NULL, "slots of the job"},
    {"joined", "steps", INTEGER | OR_NULL, NULL, "training steps of the job; null: until its data are through"},
    {"joined", "labels", LIST | TEXT, NULL, "class -> label"},

    {"notice", NULL, 0, NULL, "trouble or recovery, or an assumption in reading the data, as on stderr"},
    {"notice", "event", TEXT, NULL, "notice"},
    {"notice", "text", TEXT, NULL, "for people"},

    {"warning", NULL, 0, NULL, "columns whose scales differ by orders of magnitude"},
    {"warning", "event", TEXT, NULL, "warning"},
    {"warning", "kind", TEXT, NULL, "scales"},
    {"warning", "text", TEXT, NULL, "for people"},

    {"left_out", NULL, 0, NULL, "standard output was not read; a worker does not wait for its reader"},
    {"left_out", "event", TEXT, NULL, "left_out"},
    {"left_out", "lines", INTEGER, NULL, "lines that are missing here"},
    {"left_out", "reason", TEXT, NULL, "standard output was not read"},

    {"done", NULL, 0, NULL, "the job is done"},
    {"done", "event", TEXT, NULL, "done"},
    {"done", "steps", INTEGER, NULL, "steps that this worker had a part in"},
    {"done", "slots", INTEGER, NULL, "slots that it computed"},
    {"done", "samples", INTEGER, NULL, "samples that it computed"},
    {"done", "seconds", NUMBER, "s", "time of training"},
    {"done", "reason", OR_NULL, NULL, "always null"},
    {"done", "exit_code", INTEGER, NULL, "always 0"},

    {ENDS, NULL, 0, NULL, "ended by a signal; by a number that is not finite; by anything else"},
    {ENDS, "event", TEXT, NULL, "the kind of the end"},
    {ENDS, "steps", INTEGER, NULL, "steps so far that this worker had a part in"},
    {ENDS, "slots", INTEGER, NULL, "slots so far"},
    {ENDS, "samples", INTEGER, NULL, "samples so far"},
    {ENDS, "reason", TEXT, NULL, "the signal, or the message on stderr"},
    {ENDS, "exit_code", INTEGER, NULL, "of the process (deploy/README.md has them)"},

    {"eval", NULL, 0, NULL, "done of dp-worker eval, its only object"},
    {"eval", "event", TEXT, NULL, "done"},
    {"eval", "reason", OR_NULL, NULL, "always null"},
    {"eval", "exit_code", INTEGER, NULL, "always 0"},
    {"eval", "step", INTEGER, NULL, "steps of training that made the model"},
    {"eval", "complete", BOOLEAN, NULL, "the model is finished and has not diverged"},
    {"eval", "rows", INTEGER, NULL, "rows of the data"},
    {"eval", "loss", NUMBER | OR_NULL, NULL, "mean loss"},
    {"eval", "objective", NUMBER | OR_NULL, NULL, "loss + regularizer"},
    {"eval", "accuracy", NUMBER | OR_NULL | MAYBE, NULL, "of logistic and softmax, 0 to 1"},
    {"eval", "rmse", NUMBER | OR_NULL | MAYBE, NULL, "of linear"},
    {"eval", "regularizer", NUMBER | OR_NULL | MAYBE, NULL, "with --l1 and the like: R(theta)"},
    {"eval", "sparsity", NUMBER | OR_NULL | MAYBE, NULL, "likewise: share of weights that are zero"},
    {"eval", "stationarity", NUMBER | OR_NULL | MAYBE, NULL, "likewise: 0 at an optimum; null if it cannot be told"},
    {"eval", "violation", NUMBER | OR_NULL | MAYBE, NULL, "with --constraint: distance of theta from it"},
    {"eval", "label_column", TEXT | INTEGER | MAYBE, NULL, "the label's column of CSV: name, or number from 0"},

    {"inspect", NULL, 0, NULL, "done of dp-worker inspect, its only object"},
    {"inspect", "event", TEXT, NULL, "done"},
    {"inspect", "reason", OR_NULL, NULL, "always null"},
    {"inspect", "exit_code", INTEGER, NULL, "always 0"},
    {"inspect", "kind", TEXT, NULL, "model, checkpoint"},
    {"inspect", "path", TEXT, NULL, "the file, or the folder of the checkpoint"},
    {"inspect", "model", TEXT | OR_NULL, NULL, "the server's --model"},
    {"inspect", "features", INTEGER | OR_NULL, NULL, "columns"},
    {"inspect", "classes", INTEGER | OR_NULL, NULL, "of softmax; else 0"},
    {"inspect", "intercept", BOOLEAN | OR_NULL, NULL, "the model has a bias"},
    {"inspect", "labels", LIST | TEXT | OR_NULL, NULL, "class -> label"},
    {"inspect", "data_format", TEXT | OR_NULL, NULL, "of the training data: libsvm, csv, idx"},
    {"inspect", "columns", LIST | TEXT | OR_NULL, NULL, "names of the features"},
    {"inspect", "label_column", TEXT | INTEGER | OR_NULL, NULL, "the label's column of CSV: name, or number from 0"},
    {"inspect", "ignored_columns", LIST | TEXT | OR_NULL, NULL, "columns that were not read"},
    {"inspect", "step", INTEGER | OR_NULL, NULL, "steps of training that made the model"},
    {"inspect", "complete", BOOLEAN, NULL, "the model is finished and has not diverged"},
    {"inspect", "diverged", BOOLEAN, NULL, "its training gave numbers that are not finite"},
    {"inspect", "dp_version", TEXT | OR_NULL, NULL, "version of dp that wrote it"},
    {"inspect", "parameters", INTEGER, NULL, "elements of all tensors"},
    {"inspect", "checkpoint", OBJECT | OR_NULL, NULL, "null: it is a model"},
    {"inspect", "tensors", LIST | OBJECT, NULL, "the model's tensors"},
    {"inspect.checkpoint", NULL, 0, NULL, "a checkpoint's own facts"},
    {"inspect.checkpoint", "steps", INTEGER, NULL, "training steps that the job had to do"},
    {"inspect.checkpoint", "plan_step", INTEGER, NULL, "step of the plan, evaluations included"},
    {"inspect.checkpoint", "written_at", TEXT, NULL, "UTC"},
    {"inspect.checkpoint", "generation", INTEGER, NULL, "times that the job was begun or resumed"},
    {"inspect.checkpoint", "spec", MAP | TEXT, NULL, "options that decide the job's result"},
    {"inspect.checkpoint", "files", LIST | OBJECT, NULL, "its files"},
    {"inspect.checkpoint.files[]", "name", TEXT, NULL, "of the file"},
    {"inspect.checkpoint.files[]", "member", TEXT, NULL, "the server that wrote it; empty: the head"},
    {"inspect.checkpoint.files[]", "bytes", INTEGER, "bytes", "its length"},
    {"inspect.tensors[]", NULL, 0, NULL, "a tensor"},
    {"inspect.tensors[]", "name", TEXT, NULL, "its name"},
    {"inspect.tensors[]", "kind", TEXT, NULL, "dense, table (rows by number), hashed (rows by id)"},
    {"inspect.tensors[]", "dtype", TEXT, NULL, "F32"},
    {"inspect.tensors[]", "shape", LIST | INTEGER, NULL, "lengths; of hashed: those of a row"},
    {"inspect.tensors[]", "rows", INTEGER | OR_NULL, NULL, "rows of a table that were touched; null: dense"},
    {"inspect.tensors[]", "elements", INTEGER, NULL, "elements"},
    {"inspect.tensors[]", "nonzeros", INTEGER, NULL, "elements that are not 0; of tables: of touched rows"},
    {"inspect.tensors[]", "sparsity", NUMBER, NULL, "share of elements that are 0"},
    {"inspect.tensors[]", "norm", NUMBER, NULL, "root of the sum of squares"},
    {"inspect.tensors[]", "largest", NUMBER, NULL, "the largest magnitude"},
    {"inspect.tensors[]", "not_finite", INTEGER, NULL, "elements that are no finite numbers"},

    {"predict", NULL, 0, NULL, "a row of dp-worker predict; it has no event"},
    {"predict", "label", INTEGER | NUMBER | TEXT | MAYBE, NULL, "of the predicted class; a word is a text"},
    {"predict", "value", NUMBER | OR_NULL | MAYBE, NULL, "of linear"},
    {"predict", "scores", MAP | NUMBER | OR_NULL | MAYBE, NULL, "with --scores: the probability of each label"},

    {"predicted", NULL, 0, NULL, "done of dp-worker predict, if its rows go to --output"},
    {"predicted", "event", TEXT, NULL, "done"},
    {"predicted", "reason", OR_NULL, NULL, "always null"},
    {"predicted", "exit_code", INTEGER, NULL, "always 0"},
};

const struct field_table worker_pages[WORKER_PAGES] = {
    {"events", "members of the objects that --json prints", EVENTS, ARRAY_LEN(EVENTS)},
};
