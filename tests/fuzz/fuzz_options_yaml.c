/* The option file: any bytes are taken or refused with one line that begins with the file's name, and what is taken
 * lies within its ranges. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "common/base/util.h"
#include "common/options/options.h"
#include "tests/fuzz/fuzz.h"

struct fields {
    const char *data;
    uint64_t batch;
    uint64_t seed;
    double lr;
    bool quiet;
    bool intercept;
    int model;
    struct option_list constraint;
};

#define FIELD(name) offsetof(struct fields, name)
static const struct option LIST[] = {
    {"job", "data", OPT_STRING, FIELD(data), "FILE", .help = "a text"},
    {"job", "batch", OPT_U64, FIELD(batch), "N", 1, 1000, "8", .help = "a count"},
    {"job", "seed", OPT_U64, FIELD(seed), "N", .help = "a number of 64 bits"},
    {"job", "lr", OPT_F64, FIELD(lr), "X", 0, 1, "0.5", .help = "a real number"},
    {"job", "quiet", OPT_FLAG, FIELD(quiet), .help = "a flag"},
    {"job", "intercept", OPT_SWITCH, FIELD(intercept), .dflt = "on", .help = "a switch"},
    {"job", "model", OPT_CHOICE, FIELD(model), .choices = "a|bc|d", .help = "a choice"},
    {"job", "constraint", OPT_LIST, FIELD(constraint), "X", .help = "a list"},
};
static const struct option_table TABLE = {
    .program = "fuzz", .summary = "", .usage = "", .list = LIST, .count = ARRAY_LEN(LIST)};

static void check_fields(const struct fields *fields)
{
    FUZZ_ASSERT(fields->batch >= 1 && fields->batch <= 1000);
    FUZZ_ASSERT(fields->lr >= 0 && fields->lr <= 1);
    FUZZ_ASSERT(fields->model >= -1 && fields->model < 3);
    size_t bytes = fields->data ? strlen(fields->data) : 0;
    for (size_t i = 0; i < fields->constraint.count; i++)
        bytes += strlen(fields->constraint.values[i]);
    FUZZ_ASSERT(bytes < SIZE_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct options opts;
    struct fields fields;
    dp_error err = {0};
    if (options_parse_text(&opts, &TABLE, &fields, "job.yaml", data, bytes, &err) == DP_OK) {
        check_fields(&fields);
        options_fini(&opts);
        return 0;
    }
    FUZZ_ASSERT(err.code == DP_USAGE);
    FUZZ_ASSERT(strncmp(err.text, "job.yaml:", 9) == 0);
    for (const char *at = err.text; *at; at++)
        FUZZ_ASSERT((unsigned char)*at >= 0x20);
    return 0;
}
