/* The members of the objects of dp-ctl --json. Thread: any. */
#include "worker/ctl/fields.h"

#include "common/base/util.h"

static const struct field OBJECTS[] = {
    {"set", NULL, 0, NULL, "a setting that the server has taken"},
    {"set", "set", FIELD_TEXT, NULL, "lr, consistency"},
    {"set", "value", FIELD_NUMBER | FIELD_TEXT, NULL, "as it was given"},
    {"set", "step", FIELD_INTEGER, NULL, "the first step with it, evaluation steps counted"},
    {"set", "train_step", FIELD_INTEGER, NULL, "the same among training steps"},

    {"export", NULL, 0, NULL, "a model that was written"},
    {"export", "export", FIELD_TEXT, NULL, "path of the file"},
    {"export", "on_server", FIELD_BOOLEAN, NULL, "it is on the server's host"},
    {"export", "bytes", FIELD_INTEGER, "bytes", "its size"},
    {"export", "xxh3", FIELD_TEXT | FIELD_NULL, NULL, "its digest; null on the server's host"},
    {"export", "train_step", FIELD_INTEGER, NULL, "training steps that made it"},
    {"export", "complete", FIELD_BOOLEAN, NULL, "the job was done"},
    {"export", "diverged", FIELD_BOOLEAN, NULL, "the job had diverged"},

    {"checkpoint", NULL, 0, NULL, "a checkpoint that was made"},
    {"checkpoint", "checkpoint", FIELD_TEXT, NULL, "path of its folder, on the server's host"},
    {"checkpoint", "step", FIELD_INTEGER, NULL, "steps before it, evaluation steps counted"},
    {"checkpoint", "train_step", FIELD_INTEGER, NULL, "training steps that its parameters have seen"},
};

const struct field_table ctl_pages[CTL_PAGES] = {
    {"json", "members of the objects that set, export and checkpoint print with --json", OBJECTS, ARRAY_LEN(OBJECTS)},
};
