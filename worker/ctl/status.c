/* The status document as a table. Every value goes through a function that takes any JSON, NULL included, and gives a
 * text. Thread: any. */
#include "worker/ctl/status.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/human.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "worker/ctl/fit.h"

enum { WAIT_SHOWN_MS = 1000, LABELS_COLUMNS = 60 };

/* --- values --- */

static double real_of(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static const char *string_or_dash(const json_t *value, char buf[TEXT_BYTES])
{
    text_clean(buf, TEXT_BYTES, json_is_string(value) ? json_string_value(value) : "-");
    return buf;
}

static const char *whole(const json_t *value, char buf[TEXT_BYTES])
{
    if (json_is_integer(value))
        snprintf(buf, TEXT_BYTES, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        str_copy(buf, TEXT_BYTES, "-");
    return buf;
}

/* A seed beyond JSON's integers comes as text. */
static const char *seed(const json_t *value, char buf[TEXT_BYTES])
{
    return json_is_string(value) ? string_or_dash(value, buf) : whole(value, buf);
}

/* A parameter as it was given. */
static const char *parameter(const json_t *value, char buf[TEXT_BYTES])
{
    if (json_is_number(value))
        snprintf(buf, TEXT_BYTES, "%.7g", json_number_value(value));
    else
        str_copy(buf, TEXT_BYTES, "-");
    return buf;
}

/* A mean of small whole numbers, which has no more digits than mean something. */
static const char *mean(const json_t *value, char buf[TEXT_BYTES])
{
    double x = real_of(value);
    if (x < 999.5)
        snprintf(buf, TEXT_BYTES, "%.3g", x);
    else
        human_count(x, buf);
    return buf;
}

static const char *loss(const json_t *value, char buf[TEXT_BYTES])
{
    if (json_is_number(value))
        return human_loss(json_number_value(value), buf);
    str_copy(buf, TEXT_BYTES, "-");
    return buf;
}

static const char *shortened(const json_t *value, char buf[TEXT_BYTES])
{
    return human_count(real_of(value), buf);
}

static const char *bytes(const json_t *value, char buf[TEXT_BYTES])
{
    human_count(real_of(value), buf);
    size_t at = strlen(buf);
    if (buf[0] != '-')
        str_append(buf, TEXT_BYTES, &at, "B");
    return buf;
}

static const char *ago(const json_t *value, char buf[TEXT_BYTES])
{
    return human_seconds(real_of(value) / 1000, buf);
}

/* "0-3,6" for [0,1,2,3,6]; "none" for []. */
static const char *slots(const json_t *value, char buf[TEXT_BYTES])
{
    size_t count = json_array_size(value), at = 0;
    str_copy(buf, TEXT_BYTES, json_is_array(value) ? "none" : "-");
    for (size_t i = 0; i < count; i++) {
        json_int_t first = json_integer_value(json_array_get(value, i)), last = first;
        while (i + 1 < count && json_integer_value(json_array_get(value, i + 1)) == last + 1) {
            last++;
            i++;
        }
        bool fits = str_append(buf, TEXT_BYTES, &at, "%s%" JSON_INTEGER_FORMAT, at ? "," : "", first);
        if (fits && last > first)
            fits = str_append(buf, TEXT_BYTES, &at, "-%" JSON_INTEGER_FORMAT, last);
        if (!fits)
            break;
    }
    return buf;
}

/* [first, first + count) of theta as "0-61"; a shard that has none of it may have rows. */
static const char *range(const json_t *shard, char buf[TEXT_BYTES])
{
    const json_t *first = json_object_get(shard, "first"), *count = json_object_get(shard, "count");
    json_int_t n = json_integer_value(count);
    if (!json_is_integer(first) || !json_is_integer(count))
        str_copy(buf, TEXT_BYTES, "-");
    else if (n <= 0)
        str_copy(buf, TEXT_BYTES,
                 json_integer_value(json_object_get(shard, "parts")) > 0 ? "rows of tables" : "unused");
    else
        snprintf(buf, TEXT_BYTES, "%" JSON_INTEGER_FORMAT "-%" JSON_INTEGER_FORMAT, json_integer_value(first),
                 json_integer_value(first) + n - 1);
    return buf;
}

/* --- tables --- */

static const struct column WORKER_COLUMNS[] = {
    {"id", "id", whole, false, 0},
    {"name", "name", string_or_dash, true, 0},
    {"state", "state", string_or_dash, true, 0},
    {"slots", "slots", slots, true, 0},
    {"step", "step", whole, false, 0},
    {"samples", "samples", shortened, false, 2},
    {"samples/s", "samples_per_s", shortened, false, 0},
    {"slots/s", "slots_per_s", shortened, false, 1},
    {"threads", "threads", whole, false, 3},
    {"last seen", "last_heartbeat_ms", ago, false, 0},
};

static const struct column SHARD_COLUMNS[] = {
    {"id", "id", whole, false, 0},
    {"endpoint", "endpoint", string_or_dash, true, 0},
    {"elements", NULL, range, true, 0},
    {"slices", "slices", whole, false, 2},
    {"done steps", "low", whole, false, 0},
    {"pushes", "pushes", shortened, false, 1},
    {"duplicates", "duplicates", shortened, false, 3},
    {"in", "bytes_in", bytes, false, 0},
    {"out", "bytes_out", bytes, false, 0},
};

/* --- job and progress --- */

/* Gradients that were applied: how many others were between reading theta and that. */
static void print_consistency(const char *mode, const json_t *next, const json_t *staleness, FILE *out)
{
    char a[TEXT_BYTES], b[TEXT_BYTES], c[TEXT_BYTES];
    fprintf(out, "commits    %s, ", mode);
    if (json_is_object(next)) {
        fprintf(out, "%s from step ", string_or_dash(json_object_get(next, "mode"), a));
        fprintf(out, "%s on, ", whole(json_object_get(next, "step"), b));
    }
    fprintf(out, "%s gradients, staleness %s commits on average, %s at most\n",
            shortened(json_object_get(staleness, "commits"), a), mean(json_object_get(staleness, "mean"), b),
            whole(json_object_get(staleness, "max"), c));
    const json_t *buckets = json_object_get(staleness, "buckets");
    if (json_array_size(buckets) < 2)
        return; /* none was stale */
    fprintf(out, "staleness ");
    for (size_t i = 0; i < json_array_size(buckets); i++)
        fprintf(out, "%s %u%s: %s", i ? "," : "", i ? 1U << (i - 1) % 32 : 0, i > 1 ? "+" : "",
                shortened(json_array_get(buckets, i), b));
    fputc('\n', out);
}

/* A counter of all shards, as people read it. */
static const char *of_all(const json_t *shards, const char *name, char buf[TEXT_BYTES])
{
    double sum = 0;
    for (size_t p = 0; p < json_array_size(shards); p++)
        sum += json_number_value(json_object_get(json_array_get(shards, p), name));
    return human_count(sum, buf);
}

/* Late gradients: of each the parameters that it was computed on were kept, or not. */
static void print_compensation(const json_t *strength, const json_t *shards, FILE *out)
{
    char a[TEXT_BYTES], b[TEXT_BYTES], c[TEXT_BYTES];
    if (!(real_of(strength) > 0))
        return;
    fprintf(out, "late       %s gradients compensated by %s, ", of_all(shards, "compensated", a),
            parameter(strength, b));
    fprintf(out, "%s taken as they were; %sB of parameters kept for that\n", of_all(shards, "uncompensated", a),
            of_all(shards, "past_bytes", c));
}

/* The rate of the open step; where a schedule or a warm-up makes it from another one, that as well. */
static void print_rate(const json_t *update, FILE *out)
{
    char a[TEXT_BYTES], b[TEXT_BYTES];
    const json_t *lr = json_object_get(update, "lr"), *base = json_object_get(update, "base_lr");
    fprintf(out, ", lr %s", parameter(lr, a));
    if (json_is_number(lr) && json_is_number(base) && real_of(lr) != real_of(base))
        fprintf(out, " (%s, of %s)", string_or_dash(json_object_get(update, "schedule"), a), parameter(base, b));
}

/* Those that fit on a line. */
static void print_labels(const json_t *labels, FILE *out)
{
    size_t count = json_array_size(labels), used = 0;
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_array_get(labels, i));
        used += text ? strlen(text) + 2 : 0;
        if (!text || (i > 0 && used > LABELS_COLUMNS)) {
            fputs(", ...", out);
            break;
        }
        char shown[LABELS_COLUMNS + 1];
        text_clean(shown, sizeof shown, text);
        fprintf(out, "%s%s", i ? ", " : "labels     ", shown);
    }
    if (count)
        fputc('\n', out);
}

static void print_job(const json_t *status, FILE *out)
{
    char a[TEXT_BYTES], b[TEXT_BYTES], c[TEXT_BYTES];
    const json_t *job = json_object_get(status, "job");
#define JOB(name) json_object_get(job, name)
    fprintf(out, "model      %s", string_or_dash(json_object_get(status, "model"), a));
    /* The first worker's data settle the rest. */
    if (!json_is_object(job)) {
        fprintf(out, "\n");
        return;
    }
    if (!json_is_null(JOB("features")))
        fprintf(out, ", %s features", whole(JOB("features"), a));
    if (json_integer_value(JOB("classes")) > 0)
        fprintf(out, ", %s classes", whole(JOB("classes"), a));
    if (json_is_boolean(JOB("intercept")))
        fprintf(out, json_is_true(JOB("intercept")) ? ", intercept" : ", no intercept");
    fprintf(out, ", %s parameter%s%s\n", whole(JOB("theta_elems"), a),
            json_integer_value(JOB("theta_elems")) == 1 ? "" : "s",
            json_is_true(JOB("sparse")) ? " besides the table" : "");
    print_labels(JOB("labels"), out);
    if (json_is_true(JOB("local")))
        fprintf(out, "data       each worker's own, ");
    else
        fprintf(out, "data       %s rows, %s to evaluate on, ", whole(JOB("train_rows"), a),
                whole(JOB("eval_rows"), b));
    fprintf(out, "batch %s, %s slots, seed %s\n", whole(JOB("batch"), a), whole(JOB("slots"), b), seed(JOB("seed"), c));
    fprintf(out, "update     %s", string_or_dash(JOB("optimizer"), a));
    print_rate(json_object_get(status, "update"), out);
    /* The others have none, whatever the option says. */
    if (strcmp(a, "momentum") == 0 || strcmp(a, "nesterov") == 0 || strcmp(a, "lars") == 0)
        fprintf(out, ", momentum %s", parameter(JOB("momentum"), b));
    fprintf(out, ", l2 %s\n", parameter(JOB("l2"), b));
    if (json_is_string(JOB("consistency")))
        print_consistency(string_or_dash(JOB("consistency"), a), JOB("consistency_next"),
                          json_object_get(status, "staleness"), out);
    print_compensation(json_object_get(json_object_get(status, "update"), "delay_compensation"),
                       json_object_get(status, "shards"), out);
#undef JOB
}

/* Steps of evaluations are steps to workers and shards, and no training steps. */
static void print_steps(const json_t *progress, const json_t *train_steps, double total, FILE *out)
{
    char a[TEXT_BYTES], b[TEXT_BYTES];
#define FIELD(name) json_object_get(progress, name)
    fprintf(out, "progress   ");
    if (!json_is_null(FIELD("epochs")))
        fprintf(out, "epoch %s of %s, ", whole(FIELD("epoch"), a), whole(FIELD("epochs"), b));
    if (json_is_integer(train_steps) && real_of(train_steps) < total)
        fprintf(out, "training step %s of %s, with evaluations ", whole(FIELD("train_step"), a), whole(train_steps, b));
    fprintf(out, "step %s of %.0f (%.0f%%)\n", whole(FIELD("step"), a), total,
            floor(100 * real_of(FIELD("step")) / total));
#undef FIELD
}

static void print_progress(const json_t *progress, const json_t *train_steps, FILE *out)
{
    char a[TEXT_BYTES], b[TEXT_BYTES], c[TEXT_BYTES];
#define FIELD(name) json_object_get(progress, name)
    double total = real_of(FIELD("total_steps"));
    bool open_ended = json_is_null(FIELD("total_steps")); /* it ends when its workers have finished */
    if (open_ended)
        fprintf(out, "progress   step %s, until all ranks have finished\n", whole(FIELD("step"), a));
    if (total > 0)
        print_steps(progress, train_steps, total, out);
    if (total > 0 || open_ended) {
        fprintf(out, "loss       %s, evaluation %s, accuracy %s\n", loss(FIELD("loss"), a), loss(FIELD("eval_loss"), b),
                human_percent(real_of(FIELD("eval_accuracy")), c));
        fprintf(out, "speed      %s samples/s, elapsed %s, ETA %s\n", shortened(FIELD("samples_per_s"), a),
                human_clock(real_of(FIELD("elapsed_s")), b), human_clock(real_of(FIELD("eta_s")), c));
    }
    if (json_is_string(FIELD("waiting_for")))
        fprintf(out, "waiting    for %s\n", string_or_dash(FIELD("waiting_for"), a));
#undef FIELD
}

/* A step that has been open for long, and who owes what of it; one that goes by quickly is not worth a line. */
static void print_waits(const json_t *waits, FILE *out)
{
    char a[TEXT_BYTES], b[TEXT_BYTES];
    const json_t *owed = json_object_get(waits, "owed");
    if (json_integer_value(json_object_get(waits, "for_ms")) < WAIT_SHOWN_MS)
        return;
    for (size_t i = 0; i < json_array_size(owed); i++) {
        const json_t *entry = json_array_get(owed, i);
        fprintf(out, "waiting    for slots %s of %s", slots(json_object_get(entry, "slots"), a),
                string_or_dash(json_object_get(entry, "name"), b));
        fprintf(out, " (last heard of %s ago)", ago(json_object_get(entry, "last_heard_ms"), a));
        fprintf(out, " since %s%s\n", ago(json_object_get(waits, "for_ms"), a),
                json_is_true(json_object_get(waits, "stalled")) ? ": a stall" : "");
    }
}

/* Nothing where all goes by equal shares and nothing was given twice. */
static void print_balance(const json_t *balance, FILE *out)
{
    char a[TEXT_BYTES], b[TEXT_BYTES];
#define FIELD(name) json_object_get(balance, name)
    if (json_integer_value(FIELD("moves")) == 0 && json_integer_value(FIELD("given")) == 0)
        return;
    fprintf(out, "balance    slots moved %s times by speed; late slots copied: %s, ", whole(FIELD("moves"), a),
            whole(FIELD("given"), b));
    fprintf(out, "the copy was first %s times, late %s times\n", whole(FIELD("won"), a), whole(FIELD("lost"), b));
#undef FIELD
}

/* Nothing where none was: most jobs drop none. */
static void print_dropped(const json_t *dropped, FILE *out)
{
    char a[TEXT_BYTES], b[TEXT_BYTES], c[TEXT_BYTES];
#define FIELD(name) json_object_get(dropped, name)
    if (json_integer_value(FIELD("steps")) > 0)
        fprintf(out, "dropped    %s slots of %s steps, %s samples; the result depends on which\n",
                shortened(FIELD("slots"), a), shortened(FIELD("steps"), b), shortened(FIELD("samples"), c));
#undef FIELD
}

/* Nothing where none was: connections that the gate has closed, by kind. */
static void print_gate(json_t *closed, FILE *out)
{
    const char *kind, *before = "closed     connections, by the gate: ";
    json_t *count;
    char a[TEXT_BYTES];
    json_object_foreach(closed, kind, count)
    {
        if (json_integer_value(count) == 0)
            continue;
        fprintf(out, "%s%s %s", before, kind, shortened(count, a));
        before = ", ";
    }
    if (*before == ',')
        fputc('\n', out);
}

static void print_lines(const json_t *status, const char *server, FILE *out)
{
    char a[TEXT_BYTES], b[TEXT_BYTES];
    fprintf(out, "dp-server %s at %s: %s", string_or_dash(json_object_get(status, "version"), a), server,
            string_or_dash(json_object_get(status, "state"), b));
    fprintf(out, ", up %s\n", human_clock(real_of(json_object_get(status, "uptime_s")), a));
    print_job(status, out);
    print_progress(json_object_get(status, "progress"), json_object_get(json_object_get(status, "job"), "train_steps"),
                   out);
    print_waits(json_object_get(status, "waits"), out);
    print_balance(json_object_get(status, "balance"), out);
    print_dropped(json_object_get(status, "dropped"), out);
    print_gate(json_object_get(json_object_get(status, "gate"), "closed"), out);
}

/* The status lists some of thousands, or fewer while the server has no memory for more. */
static void print_left_out(const char *what, const json_t *count, FILE *out)
{
    char a[TEXT_BYTES];
    if (json_integer_value(count) > 0)
        fprintf(out, "... and %s more %s\n", whole(count, a), what);
}

void ctl_status_print(const json_t *status, const char *server, int columns, FILE *out)
{
    char *text = NULL;
    size_t bytes;
    FILE *lines = open_memstream(&text, &bytes);
    print_lines(status, server, lines ? lines : out);
    if (lines && fclose(lines) == 0)
        fit_lines(text, columns, out);
    free(text);
    fit_table("workers", json_object_get(status, "workers"), WORKER_COLUMNS, ARRAY_LEN(WORKER_COLUMNS), columns, out);
    print_left_out("workers", json_object_get(status, "workers_left_out"), out);
    fit_table("shards", json_object_get(status, "shards"), SHARD_COLUMNS, ARRAY_LEN(SHARD_COLUMNS), columns, out);
    print_left_out("shards", json_object_get(status, "shards_left_out"), out);
}
