/* Tries what strangers and members can do to a live job, and says how it came through.
 *
 *   hostile [--shards N] [--each] [--list] [--messages N] [NAME...]
 *
 * It prints TAP: a line for each kind, "ok" where the job went on and answered, and one for the bits of the parameters
 * at the end; at last tried, survived, failed. --each: a job for each kind, so that wrong bits have one cause.
 * --messages N: instead, how many steps a job loses while it is sent N messages (cost.h). Exit status 1 where anything
 * failed. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/util.h"
#include "tests/fault/cost.h"
#include "tests/fault/hostile.h"

static const struct attack *const LISTS[] = {WIRE_ATTACKS, CROWD_ATTACKS, MESSAGE_ATTACKS, SESSION_ATTACKS,
                                             DOOR_ATTACKS};

struct run {
    struct job_config config;
    bool each, list;
    uint64_t messages;
    const char *const *names; /* those to try; none: all */
    int name_count;
    struct facts facts;
    struct job job;
    bool is_up;
    int number, failed; /* of TAP's lines */
};

static bool chosen(const struct run *run, const struct attack *attack)
{
    for (int i = 0; i < run->name_count; i++)
        if (strcmp(run->names[i], attack->name) == 0)
            return true;
    return run->name_count == 0;
}

static void report(struct run *run, bool ok, const char *name, const char *what, const struct why *why)
{
    run->failed += !ok;
    printf("%sok %d - %s: %s\n", ok ? "" : "not ", ++run->number, name, what);
    if (!ok)
        printf("# %s: %s\n", name, why->text);
    fflush(stdout);
}

static bool up(struct run *run, struct why *why)
{
    if (!run->is_up && !job_start(&run->job, &run->config, why)) {
        job_end(&run->job);
        return false;
    }
    run->is_up = true;
    return true;
}

/* The end of the job: its bits. */
static void down(struct run *run, const char *name)
{
    struct why why = {{0}};
    if (!run->is_up)
        return;
    bool ok = job_ends_well(&run->job, &why);
    report(run, ok, name, "the parameters are those of a quiet run", &why);
    if (!ok && run->job.liar_was_dealt)
        printf("# %s: an attacker may have been dealt what it pushed, which would be the reason\n", name);
    if (!ok)
        job_tell_logs(&run->job);
    job_end(&run->job);
    run->is_up = false;
}

static void try_one(struct run *run, const struct attack *attack)
{
    struct why why = {{0}};
    const struct stage stage = {&run->job, &run->facts};
    uint64_t began_ms = mono_ms();
    char what[160];
    bool ok = up(run, &why) && attack->run(&stage, &why) && job_is_well(&run->job, &why);
    snprintf(what, sizeof what, "%s (%.1f s)", attack->what, (double)(mono_ms() - began_ms) / 1000);
    report(run, ok, attack->name, what, &why);
    if (run->is_up && !ok) { /* the next ones get a job that is well */
        job_end(&run->job);
        run->is_up = false;
    }
    if (run->each)
        down(run, attack->name);
}

static void try_all(struct run *run)
{
    int tried = 0;
    for (size_t l = 0; l < ARRAY_LEN(LISTS); l++)
        for (const struct attack *attack = LISTS[l]; attack->name; attack++) {
            tried += chosen(run, attack);
            if (chosen(run, attack))
                try_one(run, attack);
        }
    down(run, "bits");
    printf("1..%d\n# tried %d, survived %d, failed %d\n", run->number, run->number, run->number - run->failed,
           run->failed);
    if (tried == 0)
        run->failed++;
}

static void list_all(void)
{
    for (size_t l = 0; l < ARRAY_LEN(LISTS); l++)
        for (const struct attack *attack = LISTS[l]; attack->name; attack++)
            printf("%-18s %s\n", attack->name, attack->what);
}

/* Options come before names. */
static bool parse(struct run *run, int argc, char **argv)
{
    int i = 1;
    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--each") == 0)
            run->each = true;
        else if (strcmp(argv[i], "--list") == 0)
            run->list = true;
        else if (strcmp(argv[i], "--shards") == 0 && (value[0] == '1' || value[0] == '2') && !value[1] && ++i)
            run->config.shards = value[0] == '1' ? 1 : 2;
        else if (strcmp(argv[i], "--messages") == 0 && strtoull(value, NULL, 10) > 0 && ++i)
            run->messages = strtoull(value, NULL, 10);
        else
            return false;
    }
    run->names = (const char *const *)argv + i;
    run->name_count = argc - i;
    return true;
}

int main(int argc, char **argv)
{
    static struct run run = {.config = {.build = DP_BUILD_ROOT,
                                        .data = DP_SOURCE_ROOT "/tests/data/digits/train.csv.gz",
                                        .slot_ms = "2",
                                        .shards = 2}};
    struct why why = {{0}};
    if (!parse(&run, argc, argv)) {
        fprintf(stderr, "usage: hostile [--shards 1|2] [--each] [--list] [--messages N] [NAME...]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    /* A sanitizer's server keeps what is freed: not so much that it looks like a leak. */
    setenv("ASAN_OPTIONS", "quarantine_size_mb=4:thread_local_quarantine_size_kb=64", 0);
    if (run.list) {
        list_all();
        return 0;
    }
    if (!facts_learn(&run.facts, &run.config, &why)) {
        printf("Bail out! %s\n", why.text);
        return 1;
    }
    if (run.messages)
        run.failed = !cost_measure(&run.config, &run.facts, run.messages);
    else
        try_all(&run);
    facts_free(&run.facts);
    return run.failed > 0;
}
