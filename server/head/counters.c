/* Counters of the shards, as JSON and in words. Thread: head. */
#include "server/head/counters.h"

#include <stddef.h>
#include <stdio.h>

#include "common/base/human.h"
#include "common/base/util.h"
#include "server/head/consistency.h"
#include "server/talk/shared.h"
#include "server/zmtp/gate.h"

#define NUMBER(name, unit, meaning) {#name, offsetof(struct shard_counters, name)},
#define TIME(name, meaning) {#name "_s", offsetof(struct shard_counters, name##_ns)},
#define NOTHING(...)

static const struct {
    const char *name; /* in the status document */
    size_t field;     /* in struct shard_counters */
} NUMBERS[] = {SHARD_COUNTERS(NUMBER, NUMBER, NOTHING, NOTHING)},
  TIMES[] = {SHARD_COUNTERS(NOTHING, NOTHING, TIME, NOTHING)};

static uint64_t number_at(const struct shard_counters *counters, size_t field)
{
    return counter_get((const _Atomic uint64_t *)(const void *)((const char *)counters + field));
}

static double seconds(const _Atomic uint64_t *ns)
{
    return (double)counter_get(ns) * 1e-9;
}

static void set(json_t *object, const char *name, uint64_t value)
{
    json_object_set_new(object, name, json_integer((json_int_t)value));
}

static json_t *shard_json(const struct head *head, uint32_t s)
{
    const struct seat *seat = seats_at(&head->seats, s);
    const struct shard_counters *c = seat->counters;
    json_t *shard = json_object();
    set(shard, "id", s);
    json_object_set_new(shard, "endpoint", json_string(seat->endpoint));
    for (size_t i = 0; i < ARRAY_LEN(NUMBERS); i++)
        set(shard, NUMBERS[i].name, number_at(c, NUMBERS[i].field));
    for (size_t i = 0; i < ARRAY_LEN(TIMES); i++)
        json_object_set_new(shard, TIMES[i].name, json_real((double)number_at(c, TIMES[i].field) * 1e-9));
    set(shard, "bytes_in",
        counter_get(&c->gradient_bytes_in) + counter_get(&c->ids_bytes_in) + counter_get(&c->header_bytes_in));
    set(shard, "bytes_out", counter_get(&c->theta_bytes_out) + counter_get(&c->header_bytes_out));
    json_object_set_new(shard, "staleness", head_staleness_json(c));
    if (!head->job.settled)
        return shard;
    set(shard, "first", head->job.shards[s].range.first);
    set(shard, "count", head->job.shards[s].range.count);
    set(shard, "slices", head->job.shards[s].slice_count);
    set(shard, "parts", head->job.shards[s].part_count);
    return shard;
}

json_t *head_shards_json(const struct head *head)
{
    json_t *shards = json_array();
    for (uint32_t s = 0; s < head->seats.count; s++)
        json_array_append_new(shards, shard_json(head, s));
    return shards;
}

json_t *head_gate_json(void)
{
    json_t *gate = json_object(), *closed = json_object();
    for (int fault = GATE_FINE + 1; fault < GATE_FAULTS; fault++)
        set(closed, gate_fault_name((enum gate_fault)fault), gate_count((enum gate_fault)fault));
    set(gate, "strangers", gate_strangers());
    json_object_set_new(gate, "closed", closed);
    return gate;
}

/* Nothing where nobody was cut off. */
static void print_gate(FILE *out)
{
    const char *before = "dp-server: connections closed:";
    for (int fault = GATE_FINE + 1; fault < GATE_FAULTS; fault++) {
        uint64_t count = gate_count((enum gate_fault)fault);
        if (count == 0)
            continue;
        fprintf(out, "%s %s %llu", before, gate_fault_name((enum gate_fault)fault), (unsigned long long)count);
        before = ",";
    }
    if (before[0] == ',')
        fputc('\n', out);
}

static void print_count(FILE *out, const char *before, const _Atomic uint64_t *counter, const char *behind)
{
    char text[HUMAN_MAX];
    fprintf(out, "%s%s%s", before, human_count((double)counter_get(counter), text), behind);
}

void head_print_counters(const struct head *head, FILE *out)
{
    print_gate(out);
    for (uint32_t s = 0; s < head->seats.count; s++) {
        const struct shard_counters *c = seats_at(&head->seats, s)->counters;
        fprintf(out, "dp-server: shard %u:", s);
        print_count(out, " in ", &c->gradient_bytes_in, "B of gradients");
        print_count(out, " and ", &c->header_bytes_in, "B of headers;");
        print_count(out, " out ", &c->theta_bytes_out, "B of parameters");
        print_count(out, " and ", &c->header_bytes_out, "B of headers;");
        print_count(out, " shared ", &c->shm_bytes_in, "B of gradients");
        print_count(out, " and ", &c->shm_bytes_out, "B of parameters\n");
        fprintf(out, "dp-server: shard %u:", s);
        print_count(out, " ", &c->pushes, " pushes,");
        print_count(out, " ", &c->duplicates, " of them again;");
        print_count(out, " ", &c->pulls, " pulls;");
        print_count(out, " ", &c->commits, " commits of slices;");
        print_count(out, " ", &c->copies, " payloads copied");
        print_count(out, " (", &c->copied_bytes, "B)\n");
        fprintf(out, "dp-server: shard %u: pulls parked %.3f s, gradients queued %.3f s, commits %.3f s\n", s,
                seconds(&c->parked_ns), seconds(&c->queued_ns), seconds(&c->commit_ns));
        if (head->opts->setup.params.compensation <= 0)
            continue;
        fprintf(out, "dp-server: shard %u:", s);
        print_count(out, " ", &c->compensated, " late gradients compensated,");
        print_count(out, " ", &c->uncompensated, " taken as they were\n");
    }
}
