/* Samples of what head and shard say; see link_samples.h. */
#include "tests/unit/support/link_samples.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "server/step/block_sums.h"

enum { SLOTS = 5, LIST = 2, SLICE = 32 };

static void must(bool good)
{
    if (!good)
        abort();
}

static void *copy_of(const void *items, size_t bytes)
{
    void *copy = mem_array(bytes, 1);
    must(copy);
    return memcpy(copy, items, bytes);
}

#define COPY(...) copy_of(__VA_ARGS__, sizeof __VA_ARGS__)

static void add_tensors(struct shard_job *job)
{
    static const uint64_t WEIGHT[] = {16, 4}, BIAS[] = {4}, TABLE[] = {10, 3}, HASHED[] = {2};
    dp_error err;
    must(!tensors_add(&job->tensors, "weight", 2, WEIGHT, INIT_NORMAL, 0.25f, true, &err) &&
         !tensors_add(&job->tensors, "bias", 1, BIAS, INIT_CONSTANT, -1.5f, false, &err) &&
         !tensors_add_table(&job->tensors, "table", TENSOR_TABLE, 2, TABLE, INIT_ZEROS, 0, true, &err) &&
         !tensors_add_table(&job->tensors, "hashed", TENSOR_HASHED, 1, HASHED, INIT_ZEROS, 0, true, &err));
    job->tensors.list[0].unit = 4;
    for (uint32_t t = 0; t < job->tensors.count; t++)
        job->regular[t] = (struct regular){0.125 * (t + 1), 0.5, t == 0 ? 0.25 : 0, t == 0 ? 4 : 0};
}

static void add_constraints(struct constraints *constraints)
{
    static const uint64_t INDEX[] = {0, 3, 67};
    static const double VALUE[] = {1, -2, 0.5};
    *constraints = (struct constraints){
        .method = METHOD_AUGMENTED, .beta = 2, .rho_max = 64, .tolerance = 1e-6, .every = 7, .count = 2};
    constraints->list[0] = (struct constraint){
        .kind = CONSTRAINT_BOX, .lo = -3, .hi = 4, .arg = 0.5, .tensor = "weight", .mask = 1, .elems = 64};
    struct constraint *linear = &constraints->list[1];
    *linear = (struct constraint){.kind = CONSTRAINT_LINEAR, .mask = 3, .elems = 68};
    linear->linear.rows = mem_array(1, sizeof *linear->linear.rows);
    must(linear->linear.rows);
    linear->linear.count = 1;
    linear->linear.rows[0] = (struct linear_row){
        .equality = true, .bound = 0.75, .squares = 5.25, .count = 3, .index = COPY(INDEX), .value = COPY(VALUE)};
}

static void add_hyper(struct update_params *params)
{
    *params = (struct update_params){.schedule = {.kind = SCHEDULE_ONE_CYCLE,
                                                  .lr = 0.1,
                                                  .lr_min = 0.01,
                                                  .gamma = 0.9,
                                                  .decay = 0.5,
                                                  .peak = 0.3,
                                                  .div = 25,
                                                  .final_div = 1e4,
                                                  .every = 11,
                                                  .period = 12,
                                                  .period_mult = 2,
                                                  .warmup = 3,
                                                  .change_count = 1,
                                                  .changes = {{17, 0.05}}},
                                     .momentum = 0.9,
                                     .beta1 = 0.8,
                                     .beta2 = 0.999,
                                     .alpha = 0.99,
                                     .eps = 1e-8,
                                     .ftrl_beta = 1,
                                     .trust = 0.001,
                                     .decay = DECAY_DECOUPLED,
                                     .clip_value = 5,
                                     .clip_norm = 6,
                                     .compensation = 0.04};
}

struct command_start *link_sample_job(void)
{
    AUTOFREE struct shard_job *job = mem_array_zero(1, sizeof *job);
    must(job);
    job->plan = (struct plan){.seed = 0xfedcba9876543210,
                              .train_rows = 1000,
                              .eval_rows = 100,
                              .batch = 50,
                              .train_steps = 200,
                              .slots = SLOTS,
                              .block_rows = 10,
                              .window_blocks = 4};
    job->local = job->droppable = true;
    job->slowest = 1;
    job->rule = &rule_adam;
    job->past = 9;
    must(consistency_set(&job->consistency, 5, 2));
    add_tensors(job);
    add_hyper(&job->params);
    add_constraints(&job->constraints);
    struct command_start *start = command_start_new(job, LIST, LIST);
    must(start);
    start->owns_constraints = true;
    start->incarnation = 0x0123456789abcdef;
    start->shm = SHM_OFF;
    start->first_slice = 7;
    start->first_part = 9;
    start->slices[0] = (struct range){0, SLICE};
    start->slices[1] = (struct range){SLICE, 68 - SLICE};
    start->parts[0] = (struct part_range){2, 4, 7};
    start->parts[1] = (struct part_range){3, 0, UINT64_MAX / 2};
    return start;
}

/* The same, gone on with from a checkpoint. */
static struct command_start *sample_resumed(void)
{
    static const struct schedule_change PAST[] = {{3, 0.4}, {9, 0.2}};
    struct command_start *start = link_sample_job();
    start->job.first_step = 70;
    start->checkpoint = 1 + plan_trained(&start->job.plan, 70);
    must(schedule_past_add(&start->rates, PAST, ARRAY_LEN(PAST)));
    start->job.params.schedule.past = &start->rates;
    return start;
}

/* One that begins with another job's parameters. */
static struct command_start *sample_warm(void)
{
    struct command_start *start = link_sample_job();
    start->init_from = strdup("/models/digits.safetensors");
    must(start->init_from);
    return start;
}

static struct deal *sample_deal(void)
{
    struct deal *deal = deal_new(SLOTS, 1);
    must(deal);
    deal->from = 41;
    deal->at = 40;
    deal->extra_count = 1;
    deal->extra[0] = (struct deal_extra){3, 4095};
    deal->probe = (struct grants_probe){43, 4, 2};
    for (uint32_t k = 0; k < SLOTS; k++)
        deal->owner[k] = k == 2 ? UINT32_MAX : 10 + k;
    return deal;
}

static void fill_commands(struct link_sample *at)
{
    static const uint8_t LIVE[SLOTS] = {1, 0, 1, 1, 0};
    static const double TOTALS[] = {1.5, -2, 3, 4e300};
    const struct command commands[COMMAND_KINDS] = {
        {.kind = COMMAND_START, .start = link_sample_job()},
        {.kind = COMMAND_RESET},
        {.kind = COMMAND_OPEN, .open = {0x1122334455667788, 0x99aabbccddeeff00, strdup("host:1234")}},
        {.kind = COMMAND_CLOSE, .close = {0x1122334455667788, 12}},
        {.kind = COMMAND_GRANT, .grant = sample_deal()},
        {.kind = COMMAND_PIN, .pin = {200, 3}},
        {.kind = COMMAND_OWED},
        {.kind = COMMAND_TOTALS, .totals = {199, 2, ARRAY_LEN(TOTALS), COPY(TOTALS)}},
        {.kind = COMMAND_PREPARE, .prepare = {64, SETTING_CONSISTENCY}},
        {.kind = COMMAND_SET, .set = {65, {.kind = SETTING_LR, .lr = 0.0625}}},
        {.kind = COMMAND_ROSTER, .roster = {6, SLOTS, COPY(LIVE)}},
        {.kind = COMMAND_GO, .go = {77}},
        {.kind = COMMAND_DROP, .drop = {78, 2, SLOTS, COPY(LIVE)}},
        {.kind = COMMAND_CUT, .cut = {4, 80, 72}},
        {.kind = COMMAND_STOP},
        {.kind = COMMAND_LEVELS, .levels = {79, 13}},
    };
    static const char *const NAMES[COMMAND_KINDS] = {"start",    "reset",  "open",    "close", "grant",  "pin",
                                                     "ask_owed", "totals", "prepare", "set",   "roster", "go",
                                                     "drop",     "cut",    "stop",    "levels"};
    for (uint32_t i = 0; i < COMMAND_KINDS; i++) {
        const enum command_kind kind = commands[i].kind;
        at[i] = (struct link_sample){.name = NAMES[i], .command = commands[i]};
        at[i].needs_job = kind == COMMAND_GRANT || kind == COMMAND_TOTALS || kind == COMMAND_PREPARE ||
                          kind == COMMAND_SET || kind == COMMAND_ROSTER || kind == COMMAND_GO || kind == COMMAND_DROP;
    }
}

static float theta[SLICE];
static struct version sample_version;

static struct event_pinned sample_pinned(void)
{
    static const uint64_t IDS[] = {5, 1000000007};
    static const float VALUES[] = {1, 2, 3, 4}, TABLE[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    struct event_pinned pinned = {.step = 200, .pin = 3, .version_count = LIST, .copy_count = LIST};
    pinned.versions = mem_array_zero(LIST, sizeof *pinned.versions);
    pinned.copies = mem_array_zero(LIST, sizeof *pinned.copies);
    must(pinned.versions && pinned.copies);
    for (uint32_t i = 0; i < SLICE; i++)
        theta[i] = 0.5f * (float)i;
    sample_version = (struct version){.refs = 1, .plane = VERSION_UNSHARED, .number = 190, .theta = theta};
    version_retain(&sample_version);
    pinned.versions[0] = &sample_version; /* the other one is not held */
    pinned.copies[0] = (struct rows_copy){4, NULL, COPY(TABLE)};
    pinned.copies[1] = (struct rows_copy){2, COPY(IDS), COPY(VALUES)};
    return pinned;
}

static dp_error *sample_failure(void)
{
    dp_error *failed = mem_array_zero(1, sizeof *failed);
    must(failed);
    (void)dp_fail(failed, DP_NOMEM, "out of memory for 12 slices");
    return failed;
}

static void fill_events(struct link_sample *at)
{
    static const uint32_t OWED[] = {0, 2, 4};
    static const double SUMS[] = {0.5, 1.5, 2.5, 3.5};
    const struct event events[EVENT_KINDS] = {
        {.kind = EVENT_COMPLETED, .completed = {18, {50, 12.25, 40}, {6, 3, true}}},
        {.kind = EVENT_PINNED, .pinned = sample_pinned()},
        {.kind = EVENT_OWED, .owed = {19, ARRAY_LEN(OWED), COPY(OWED)}},
        {.kind = EVENT_FAILED, .failed = sample_failure()},
        {.kind = EVENT_SUMS, .sums = {20, EXCHANGE_REPORT, 2, ARRAY_LEN(SUMS), COPY(SUMS)}},
        {.kind = EVENT_PREPARED, .prepared = {66}},
        {.kind = EVENT_READY, .ready = {67, 6}},
        {.kind = EVENT_FEW, .few = {68}},
        {.kind = EVENT_CUT, .cut = {4, 80, CUT_FAILED, 4096, 0x8877665544332211, strdup("the disk is full")}},
        {.kind = EVENT_ARRIVED, .arrived = {4095, 9, 69, 123456789}},
        {.kind = EVENT_FENCED, .fenced = {13}},
    };
    static const char *const NAMES[EVENT_KINDS] = {"completed", "pinned", "owed",    "failed",  "sums",  "prepared",
                                                   "ready",     "few",    "cut_end", "arrived", "fenced"};
    for (uint32_t i = 0; i < EVENT_KINDS; i++) {
        at[i] = (struct link_sample){.name = NAMES[i], .is_event = true, .event = events[i]};
        at[i].event.incarnation = 0x0123456789abcdef;
    }
}

void link_samples_fill(struct link_sample *samples)
{
    fill_commands(samples);
    fill_events(samples + COMMAND_KINDS);
    samples[LINK_SAMPLES - 2] =
        (struct link_sample){.name = "start_warm", .command = {.kind = COMMAND_START, .start = sample_warm()}};
    samples[LINK_SAMPLES - 1] =
        (struct link_sample){.name = "start_resumed", .command = {.kind = COMMAND_START, .start = sample_resumed()}};
}

void link_sample_fini(struct link_sample *sample)
{
    if (sample->is_event)
        event_fini(&sample->event);
    else
        command_fini(&sample->command);
}
