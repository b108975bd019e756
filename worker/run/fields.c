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
