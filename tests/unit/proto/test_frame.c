/* Headers: golden bytes, size, what parsing refuses, job-dependent ranges, memory. */
#include "proto/frame.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/tensor/schema.h"
#include "proto/frame_limits.h"
#include "proto/frame_rows.h"
#include "tests/unit/support/leaks.h"
#include "tests/unit/support/wire_samples.h"

enum { BYTES_MAX = 4096 };

/* -- golden files -- */

static size_t golden_read(const char *name, uint8_t *buf)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.bin", GOLDEN_DIR, name);
    FILE *file = fopen(path, "rb");
    cr_assert(file, "no %s; run with GOLDEN_UPDATE=1 to write it", path);
    size_t n = fread(buf, 1, BYTES_MAX, file);
    fclose(file);
    return n;
}

static void golden_write(const char *name, const uint8_t *buf, size_t bytes)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.bin", GOLDEN_DIR, name);
    FILE *file = fopen(path, "wb");
    cr_assert(file && fwrite(buf, 1, bytes, file) == bytes && fclose(file) == 0);
}

static size_t pack(const Dp__Header *header, uint8_t *buf)
{
    size_t n = frame_size(header);
    cr_assert_leq(n, BYTES_MAX);
    frame_write(header, buf);
    return n;
}

Test(frame, golden_bytes)
{
    struct sample samples[SAMPLE_COUNT];
    samples_fill(samples);
    struct arena arena = {0};
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        uint8_t packed[BYTES_MAX], golden[BYTES_MAX], again[BYTES_MAX];
        size_t n = pack(&samples[i].header, packed);
        if (getenv("GOLDEN_UPDATE"))
            golden_write(samples[i].name, packed, n);
        cr_assert_eq(golden_read(samples[i].name, golden), n, "%s has another size", samples[i].name);
        cr_assert_arr_eq(packed, golden, n, "%s has other bytes", samples[i].name);
        const Dp__Header *header = NULL;
        dp_error err = {0};
        cr_assert_eq(frame_parse(&arena, golden, n, samples[i].payload_count, &header, &err), DP_OK, "%s: %s",
                     samples[i].name, err.text);
        cr_assert_eq(header->body_case, samples[i].header.body_case);
        cr_assert_eq(pack(header, again), n);
        cr_assert_arr_eq(again, golden, n, "%s reads as other values", samples[i].name);
    }
    arena_fini(&arena);
    ASSERT_NO_LEAKS();
}

Test(frame, golden_values)
{
    uint8_t golden[BYTES_MAX];
    struct arena arena = {0};
    const Dp__Header *header = NULL;
    dp_error err = {0};
    size_t n = golden_read("push_pull", golden);
    cr_assert_eq(frame_parse(&arena, golden, n, 1, &header, &err), DP_OK, "%s", err.text);
    cr_assert_eq(header->session, 0x0123456789abcdef);
    cr_assert_eq(header->push_pull->step, 1999999);
    cr_assert_eq(header->push_pull->metrics->loss, 10529.5625846);
    n = golden_read("joined", golden);
    cr_assert_eq(frame_parse(&arena, golden, n, 0, &header, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(header->joined->job->shards[1]->endpoint, "tcp://10.0.0.7:40002");
    cr_assert_eq(header->joined->job->tensors[0]->shape[1], 3);
    arena_fini(&arena);
}

/* A step's messages are sent once per slice: what they carry besides floats stays within a cache line. */
Test(frame, dense_step_header_is_small)
{
    struct sample samples[SAMPLE_COUNT];
    samples_fill(samples);
    cr_assert_leq(frame_size(&samples[0].header), 64);
    cr_assert_leq(frame_size(&samples[1].header), 64);
}

/* -- refusals: a sample with one thing changed -- */

static struct sample samples[SAMPLE_COUNT];

enum {
    PUSH_PULL,
    PARAMS,
    ERROR,
    HELLO,
    WELCOME,
    JOIN,
    JOINED,
    ASSIGN,
    HEARTBEAT,
    ACK,
    BYE,
    NOTICE,
    ASK,
    STATUS,
    SET,
    APPLIED,
    JOINED_TABLES,
    ROWS_PUSH_PULL,
    ROWS,
    STALL,
    PUSH_ARRIVAL,
    PARAMS_ARRIVAL,
    ERROR_ARRIVAL,
    SET_TEXT,
    PUSH_SHARED,
    PARAMS_SHARED,
    ROWS_PUSH_SHARED,
    ROWS_SHARED,
    WELCOME_SHARED,
    JOINED_SHARED,
    ERROR_CHALLENGE,
    HELLO_PROVED,
    SET_PROVED,
    JOIN_SCHEMA,
    JOINED_SCHEMA,
    ERROR_BUSY,
    JOIN_DOUBTFUL,
    EXPORT,
    EXPORT_THERE,
    EXPORTED,
    HEARTBEAT_MOVED,
    ASKED,
    HELD,
    CHECKPOINT,
    CHECKPOINTED
};

static dp_err parse_sample(size_t kind, size_t payload_count, dp_error *err)
{
    uint8_t bytes[BYTES_MAX];
    size_t n = pack(&samples[kind].header, bytes);
    struct arena arena = {0};
    const Dp__Header *header = NULL;
    dp_err rc = frame_parse(&arena, bytes, n, payload_count, &header, err);
    cr_assert((rc == DP_OK) == (header != NULL), "the output is untouched on failure");
    arena_fini(&arena);
    return rc;
}

#define REFUSED(kind, change, says)                                                                              \
    do {                                                                                                         \
        dp_error err_ = {0};                                                                                     \
        samples_fill(samples);                                                                                   \
        change;                                                                                                  \
        cr_assert_eq(parse_sample(kind, samples[kind].payload_count, &err_), DP_PROTO, "%s was taken", #change); \
        cr_assert(strstr(err_.text, says), "'%s' does not say '%s'", err_.text, says);                           \
    } while (0)

#define TAKEN(kind, change)                                                                                        \
    do {                                                                                                           \
        dp_error err_ = {0};                                                                                       \
        samples_fill(samples);                                                                                     \
        change;                                                                                                    \
        cr_assert_eq(parse_sample(kind, samples[kind].payload_count, &err_), DP_OK, "%s: %s", #change, err_.text); \
    } while (0)

#define BODY(kind, member) (samples[kind].header.member)

Test(frame, payload_counts)
{
    static const struct {
        size_t kind, min, max;
    } table[] = {
        {PUSH_PULL, 0, 1},     {PARAMS, 1, 1},           {ERROR, 0, 0},      {HELLO, 0, 0},     {WELCOME, 0, 0},
        {JOIN, 0, 0},          {JOINED, 0, 0},           {ASSIGN, 0, 0},     {HEARTBEAT, 0, 0}, {ACK, 0, 0},
        {BYE, 0, 0},           {NOTICE, 0, 0},           {ASK, 0, 0},        {STATUS, 1, 1},    {SET, 0, 0},
        {APPLIED, 0, 0},       {ROWS_PUSH_PULL, 2, 2},   {ROWS, 1, 1},       {STALL, 0, 0},     {PUSH_SHARED, 0, 0},
        {PARAMS_SHARED, 0, 0}, {ROWS_PUSH_SHARED, 1, 1}, {ROWS_SHARED, 0, 0}};
    samples_fill(samples);
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        for (size_t count = 0; count < 4; count++) {
            dp_error err = {0};
            bool fits = count >= table[i].min && count <= table[i].max;
            cr_assert_eq(parse_sample(table[i].kind, count, &err), fits ? DP_OK : DP_PROTO, "%s with %zu payloads",
                         samples[table[i].kind].name, count);
        }
}

Test(frame, push_pull_refusals)
{
    REFUSED(PUSH_PULL, BODY(PUSH_PULL, push_pull)->push = BODY(PUSH_PULL, push_pull)->pull = false, "neither");
    REFUSED(PUSH_PULL, BODY(PUSH_PULL, push_pull)->push = false, "payload");
    REFUSED(PUSH_PULL, BODY(PUSH_PULL, push_pull)->level = 13, "node");
    REFUSED(PUSH_PULL, BODY(PUSH_PULL, push_pull)->level = UINT32_MAX, "node");
    REFUSED(PUSH_PULL, BODY(PUSH_PULL, push_pull)->index = 1024, "node");
    REFUSED(PUSH_PULL, BODY(PUSH_PULL, push_pull)->index = UINT32_MAX, "node");
    REFUSED(PUSH_PULL, BODY(PUSH_PULL, push_pull)->metrics->correct = 32562, "more samples");
    REFUSED(PUSH_PULL, BODY(PUSH_PULL, push_pull)->metrics->count = UINT64_MAX, "18446744073709551615 samples");
    REFUSED(PUSH_PULL, BODY(PUSH_PULL, push_pull)->metrics->count = FRAME_SAMPLES_MAX + 1, "1099511627777 samples");
    TAKEN(PUSH_PULL, BODY(PUSH_PULL, push_pull)->metrics->count = FRAME_SAMPLES_MAX);
    REFUSED(PUSH_PULL, BODY(PUSH_PULL, push_pull)->metrics->count = BODY(PUSH_PULL, push_pull)->metrics->correct = 0,
            "a loss of no samples");
    TAKEN(PUSH_PULL, BODY(PUSH_PULL, push_pull)->metrics = NULL);
    TAKEN(PUSH_PULL, BODY(PUSH_PULL, push_pull)->metrics->loss = (double)NAN);
    TAKEN(PUSH_PULL, BODY(PUSH_PULL, push_pull)->metrics->loss = (double)INFINITY);
    REFUSED(PARAMS, BODY(PARAMS, params)->unchanged = true, "payload");
    REFUSED(PARAMS, BODY(PARAMS, params)->last = true, "payload");
}

Test(frame, rows_refusals)
{
    REFUSED(ROWS_PUSH_PULL, BODY(ROWS_PUSH_PULL, rows_push_pull)->push = false, "list of rows");
    REFUSED(ROWS_PUSH_PULL, BODY(ROWS_PUSH_PULL, rows_push_pull)->pull = false, "list of rows");
    REFUSED(ROWS_PUSH_PULL, BODY(ROWS_PUSH_PULL, rows_push_pull)->level = 13, "node");
    REFUSED(ROWS_PUSH_PULL, BODY(ROWS_PUSH_PULL, rows_push_pull)->index = 1024, "node");
    REFUSED(ROWS_PUSH_PULL, BODY(ROWS_PUSH_PULL, rows_push_pull)->metrics->correct = 32562, "more samples");
    REFUSED(ROWS_PUSH_PULL, BODY(ROWS_PUSH_PULL, rows_push_pull)->metrics->count = FRAME_SAMPLES_MAX + 1, "samples");
    REFUSED(ROWS_PUSH_PULL,
            BODY(ROWS_PUSH_PULL, rows_push_pull)->metrics->count =
                BODY(ROWS_PUSH_PULL, rows_push_pull)->metrics->correct = 0,
            "a loss of no samples");
    REFUSED(ROWS_PUSH_PULL, BODY(ROWS_PUSH_PULL, rows_push_pull)->push_keys->count = FRAME_ROWS_MAX + 1, "list of");
    REFUSED(ROWS_PUSH_PULL, BODY(ROWS_PUSH_PULL, rows_push_pull)->pull_keys->count = 0, "empty list");
    REFUSED(ROWS_PUSH_PULL, BODY(ROWS_PUSH_PULL, rows_push_pull)->push_keys = NULL, "payload");
    REFUSED(ROWS_PUSH_PULL, BODY(ROWS_PUSH_PULL, rows_push_pull)->push_keys->sent = true, "payload");
    REFUSED(ROWS_PUSH_PULL, BODY(ROWS_PUSH_PULL, rows_push_pull)->pull_keys->sent = false, "payload");
    REFUSED(ROWS, BODY(ROWS, rows)->count = FRAME_ROWS_MAX + 1, "at most");
    REFUSED(ROWS, BODY(ROWS, rows)->count = 0, "payload");
    REFUSED(ROWS, BODY(ROWS, rows)->unchanged = true, "payload");
    REFUSED(ROWS, BODY(ROWS, rows)->last = true, "payload");
}

Test(frame, refusals_of_what_is_in_shared_memory)
{
    REFUSED(PUSH_SHARED, BODY(PUSH_SHARED, push_pull)->push = false, "slab and no push");
    REFUSED(PARAMS_SHARED, BODY(PARAMS_SHARED, params)->unchanged = true, "no values");
    REFUSED(PARAMS_SHARED, BODY(PARAMS_SHARED, params)->last = true, "no values");
    REFUSED(PARAMS_SHARED, BODY(PARAMS_SHARED, params)->plane = 0, "payload");
    REFUSED(ROWS_PUSH_SHARED, BODY(ROWS_PUSH_SHARED, rows_push_pull)->slab = 0, "payload");
    REFUSED(ROWS_PUSH_SHARED, BODY(ROWS_PUSH_SHARED, rows_push_pull)->push_keys = NULL, "no rows pushed");
    REFUSED(ROWS_PUSH_SHARED, dp__keys__init(BODY(ROWS_PUSH_SHARED, rows_push_pull)->push_keys), "no rows pushed");
    REFUSED(ROWS_SHARED, BODY(ROWS_SHARED, rows)->ring = 0, "payload");
    REFUSED(ROWS_SHARED, BODY(ROWS_SHARED, rows)->last = true, "no values");
    REFUSED(ROWS_SHARED, BODY(ROWS_SHARED, rows)->unchanged = true, "no values");
    REFUSED(ROWS_SHARED, BODY(ROWS_SHARED, rows)->count = 0, "no values");
    REFUSED(WELCOME_SHARED, BODY(WELCOME_SHARED, welcome)->host = (char[]){"\033[2J"}, "printed");
    REFUSED(JOINED_SHARED, BODY(JOINED_SHARED, joined)->job->shards[1]->shm = (char[]){"dp\n"}, "printed");
    TAKEN(JOINED_SHARED, BODY(JOINED_SHARED, joined)->job->shards[1]->shm = (char[]){""});
}

Test(frame, where_the_frames_of_rows_are)
{
    samples_fill(samples);
    Dp__RowsPushPull *msg = BODY(ROWS_PUSH_PULL, rows_push_pull);
    struct frame_rows at = frame_rows_of(msg);
    cr_assert(at.push_ids == FRAME_NONE && at.values == 0 && at.pull_ids == 1 && at.count == 2);
    msg->push_keys->sent = true;
    at = frame_rows_of(msg);
    cr_assert(at.push_ids == 0 && at.values == 1 && at.pull_ids == 2 && at.count == 3);
    msg->pull_keys = NULL;
    at = frame_rows_of(msg);
    cr_assert(at.push_ids == 0 && at.values == 1 && at.pull_ids == FRAME_NONE && at.count == 2);
    msg->slab = 1;
    at = frame_rows_of(msg);
    cr_assert(at.push_ids == 0 && at.values == FRAME_NONE && at.count == 1, "the values are in a slab");
    cr_assert(frame_rows_pushed(msg));
    msg->push_keys = NULL;
    cr_assert_eq(frame_rows_of(msg).count, 0);
    cr_assert_not(frame_rows_pushed(msg));
}

Test(frame, part_refusals)
{
    REFUSED(JOINED_TABLES, BODY(JOINED_TABLES, joined)->job->tensors[1]->kind = (Dp__Tensor__Kind)3, "kind");
    REFUSED(JOINED_TABLES, BODY(JOINED_TABLES, joined)->job->tensors[2]->shape = (uint64_t[]){65537}, "more than");
    REFUSED(JOINED_TABLES, BODY(JOINED_TABLES, joined)->job->shards[0]->parts[0]->tensor = 0, "not a table");
    REFUSED(JOINED_TABLES, BODY(JOINED_TABLES, joined)->job->shards[0]->parts[0]->tensor = 3, "not a table");
    REFUSED(JOINED_TABLES, BODY(JOINED_TABLES, joined)->job->shards[0]->parts[0]->first = 1, "in order");
    REFUSED(JOINED_TABLES, BODY(JOINED_TABLES, joined)->job->shards[0]->parts[0]->last = 1000000, "in order");
    REFUSED(JOINED_TABLES, BODY(JOINED_TABLES, joined)->job->shards[1]->parts[0]->first = 499999, "in order");
    REFUSED(JOINED_TABLES, BODY(JOINED_TABLES, joined)->job->shards[1]->parts[0]->last = 999998, "not cover");
    REFUSED(JOINED_TABLES, BODY(JOINED_TABLES, joined)->job->shards[1]->n_parts = 1, "not cover");
    REFUSED(JOINED_TABLES,
            BODY(JOINED_TABLES, joined)->job->shards[1]->parts[1] =
                BODY(JOINED_TABLES, joined)->job->shards[0]->parts[1],
            "in order");
}

Test(frame, hello_and_text_refusals)
{
    static char over[FRAME_TEXT_MAX + 2];
    memset(over, 'a', FRAME_TEXT_MAX + 1);
    REFUSED(HELLO, BODY(HELLO, hello)->magic = 0x72617065, "magic");
    REFUSED(HELLO, BODY(HELLO, hello)->role = (Dp__Hello__Role)2, "role");
    REFUSED(HELLO, BODY(HELLO, hello)->name = over, "longer");
    REFUSED(HELLO, BODY(HELLO, hello)->numerics = (char[]){"a\nb"}, "printed");
    TAKEN(HELLO, BODY(HELLO, hello)->protocol_major = 77);
    REFUSED(ERROR, BODY(ERROR, error)->code = 0, "without a code");
    REFUSED(ERROR, BODY(ERROR, error)->hang_up = true, "another code than BUSY");
    REFUSED(ERROR_BUSY, BODY(ERROR_BUSY, error)->code = DP_REFUSED, "another code than BUSY");
    REFUSED(ERROR, BODY(ERROR, error)->not_dealt = true, "which is REFUSED");
    REFUSED(ERROR, BODY(ERROR, error)->text = over, "longer");
    TAKEN(ERROR, BODY(ERROR, error)->text = over + 1);
    REFUSED(ERROR, BODY(ERROR, error)->text = (char[]){"\x1b[2J"}, "printed");
    REFUSED(BYE, BODY(BYE, bye)->text = (char[]){"\xff"}, "printed");
    REFUSED(NOTICE, BODY(NOTICE, notice)->text = (char[]){"\xc2\x9b"}, "printed");
    REFUSED(WELCOME, BODY(WELCOME, welcome)->heartbeat_ms = 0, "heartbeat");
    REFUSED(WELCOME, BODY(WELCOME, welcome)->lease_ms = 499, "lease");
    REFUSED(WELCOME, BODY(WELCOME, welcome)->version = (char[]){"\r"}, "printed");
    REFUSED(WELCOME, BODY(WELCOME, welcome)->job = NULL, "missing");
}

Test(frame, proof_refusals)
{
    REFUSED(HELLO_PROVED, samples[HELLO_PROVED].header.proof.len = 63, "proof of 63 bytes");
    REFUSED(HELLO_PROVED, samples[HELLO_PROVED].header.proof.len = 1, "proof of 1 bytes");
    REFUSED(SET_PROVED, samples[SET_PROVED].header.proof.len = 32, "proof of 32 bytes");
    TAKEN(HELLO_PROVED, samples[HELLO_PROVED].header.proof.len = 0);
    TAKEN(HELLO_PROVED, samples[HELLO_PROVED].header.user = UINT32_MAX);
    REFUSED(ERROR_CHALLENGE, BODY(ERROR_CHALLENGE, error)->challenge.len = 31, "challenge of 31 bytes");
    REFUSED(ERROR_CHALLENGE, BODY(ERROR_CHALLENGE, error)->code = DP_BUSY, "with a challenge");
    REFUSED(ERROR_CHALLENGE, BODY(ERROR_CHALLENGE, error)->door = (char[]){"a\nb"}, "printed");
    TAKEN(ERROR_CHALLENGE, BODY(ERROR_CHALLENGE, error)->challenge.len = 0);
    TAKEN(ERROR_CHALLENGE, BODY(ERROR_CHALLENGE, error)->door = (char[]){""});
}

/* A proof is no body, but does not make a message of one. */
Test(frame, a_proof_needs_one_body_beside_it)
{
    uint8_t bytes[BYTES_MAX];
    struct arena arena = {0};
    const Dp__Header *header = NULL;
    dp_error err = {0};
    samples_fill(samples);
    Dp__Header bare = samples[HELLO_PROVED].header;
    bare.body_case = DP__HEADER__BODY__NOT_SET;
    size_t n = pack(&bare, bytes);
    cr_assert_eq(frame_parse(&arena, bytes, n, 0, &header, &err), DP_PROTO);
    cr_assert(strstr(err.text, "no body"), "%s", err.text);
    n = pack(&samples[HELLO_PROVED].header, bytes);
    Dp__Header more = samples[BYE].header;
    n += pack(&more, bytes + n);
    cr_assert_eq(frame_parse(&arena, bytes, n, 0, &header, &err), DP_PROTO);
    cr_assert(strstr(err.text, "more than one body"), "%s", err.text);
    arena_fini(&arena);
}
#define TEXTS(body, list, count) ((body)->n_label_texts = (count), (body)->label_texts = (list))
#define ASKED(body, list, count) ((body)->n_labels_asked = (count), (body)->labels_asked = (list))

Test(frame, join_refusals)
{
    static double falling[] = {1, 0, 2}, endless[] = {0, (double)INFINITY, 2}, none[] = {(double)NAN, 1, 2};
    TAKEN(JOIN, BODY(JOIN, join)->eval = NULL);
    REFUSED(JOIN, BODY(JOIN, join)->n_tensors = 0, "tensors");
    REFUSED(JOIN, BODY(JOIN, join)->train->labels = falling, "ascending");
    REFUSED(JOIN, BODY(JOIN, join)->train->labels = endless, "finite");
    REFUSED(JOIN, BODY(JOIN, join)->labels = none, "finite");
    TAKEN(JOIN, BODY(JOIN, join)->labels = falling);
    REFUSED(JOIN, BODY(JOIN, join)->classes = FRAME_LABELS_MAX + 1, "classes");
    static char long_word[FRAME_LABEL_MAX + 2], empty[1];
    static char *words[] = {"no", "yes", "\xc3\xbc"}, *bad[] = {"no", "a\nb", "x"}, *none_there[] = {"no", empty, "x"},
                *longer[] = {"no", "yes", long_word};
    memset(long_word, 'w', sizeof long_word - 1);
    TAKEN(JOIN, TEXTS(BODY(JOIN, join), words, 3));
    TAKEN(JOIN, (BODY(JOIN, join)->n_labels = 0, TEXTS(BODY(JOIN, join), words, 3)));
    REFUSED(JOIN, TEXTS(BODY(JOIN, join), words, 2), "2 texts of labels for 3 labels");
    REFUSED(JOIN, TEXTS(BODY(JOIN, join), bad, 3), "printed");
    REFUSED(JOIN, TEXTS(BODY(JOIN, join), none_there, 3), "empty");
    REFUSED(JOIN, TEXTS(BODY(JOIN, join), longer, 3), "longer than 128 bytes");
    REFUSED(JOINED, TEXTS(BODY(JOINED, joined)->job, bad, 3), "printed");
    REFUSED(JOINED, ASKED(BODY(JOINED, joined)->job, bad, 3), "printed");
    REFUSED(JOINED, BODY(JOINED, joined)->job->classes_asked = FRAME_LABELS_MAX + 1, "classes");
    REFUSED(JOIN, BODY(JOIN, join)->eval->name = (char[]){"a\tb"}, "printed");
}

Test(frame, schema_refusals)
{
    static char *long_name[2], *empty[] = {"x1", ""}, *broken[] = {"x1", "a\nb"}, long_text[SCHEMA_NAME_BYTES_MAX + 2];
    memset(long_text, 'x', sizeof long_text - 1);
    long_name[0] = "x1", long_name[1] = long_text;
    TAKEN(JOIN_SCHEMA, BODY(JOIN_SCHEMA, join)->schema->n_names = 0);
    TAKEN(JOIN_SCHEMA, BODY(JOIN_SCHEMA, join)->schema->label_number = 0);
    REFUSED(JOIN_SCHEMA, BODY(JOIN_SCHEMA, join)->schema->format = 4, "format 4");
    REFUSED(JOIN_SCHEMA, BODY(JOIN_SCHEMA, join)->schema->names = long_name, "longer than 255");
    REFUSED(JOIN_SCHEMA, BODY(JOIN_SCHEMA, join)->schema->names = empty, "empty");
    REFUSED(JOIN_SCHEMA, BODY(JOIN_SCHEMA, join)->schema->names = broken, "printed");
    REFUSED(JOIN_SCHEMA, BODY(JOIN_SCHEMA, join)->schema->ignored = broken, "printed");
    REFUSED(JOIN_SCHEMA, BODY(JOIN_SCHEMA, join)->schema->label = long_text, "longer than 255");
    REFUSED(JOIN_SCHEMA, BODY(JOIN_SCHEMA, join)->schema->label_number = 6, "column 6 of 5");
    REFUSED(JOIN_SCHEMA, BODY(JOIN_SCHEMA, join)->schema->note = (char[]){"\x1b"}, "printed");
    REFUSED(JOINED_SCHEMA, BODY(JOINED_SCHEMA, joined)->job->schema->names = broken, "printed");
}

/* As many names as there may be of a size that all texts may have together; one more is too many. */
Test(frame, the_largest_schema_fits)
{
    static char *names[SCHEMA_NAMES_MAX + 1], text[SCHEMA_TEXT_BYTES_MAX / SCHEMA_NAMES_MAX + 1];
    samples_fill(samples);
    memset(text, 'x', sizeof text - 1);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        names[i] = text;
    Dp__Schema *schema = samples[JOIN_SCHEMA].header.join->schema;
    schema->names = names;
    schema->n_ignored = 0;
    for (size_t more = 0; more < 2; more++) {
        schema->n_names = SCHEMA_NAMES_MAX + more;
        size_t n = frame_size(&samples[JOIN_SCHEMA].header);
        AUTOFREE uint8_t *bytes = mem_array(n, 1);
        frame_write(&samples[JOIN_SCHEMA].header, bytes);
        struct arena arena = {0};
        const Dp__Header *header;
        dp_error err = {0};
        cr_assert_eq(frame_parse(&arena, bytes, n, 0, &header, &err), more ? DP_PROTO : DP_OK, "%s", err.text);
        arena_fini(&arena);
    }
}

Test(frame, tensor_refusals)
{
    static uint64_t empty[] = {0}, endless[] = {UINT64_MAX, 3}, big[] = {1 << 20, 1 << 16};
    REFUSED(JOIN, BODY(JOIN, join)->tensors[0]->name = (char[]){""}, "empty");
    REFUSED(JOIN, BODY(JOIN, join)->tensors[0]->n_shape = 0, "rank");
    REFUSED(JOIN, BODY(JOIN, join)->tensors[1]->shape = empty, "shape");
    REFUSED(JOIN, BODY(JOIN, join)->tensors[0]->shape = endless, "shape");
    REFUSED(JOIN, BODY(JOIN, join)->tensors[0]->shape = big, "elements");
    REFUSED(JOIN, BODY(JOIN, join)->tensors[0]->init = 99, "initializer");
    REFUSED(JOIN, BODY(JOIN, join)->tensors[0]->init_arg = NAN, "initializer");
}

Test(frame, joined_refusals)
{
    static uint64_t wide[] = {SLICE_BYTES / 4 + 1, 32}, empty[] = {0, 96};
    REFUSED(JOINED, BODY(JOINED, joined)->job = NULL, "missing");
    REFUSED(JOINED, BODY(JOINED, joined)->job->model = (char[]){""}, "empty");
    REFUSED(JOINED, BODY(JOINED, joined)->job->hash_bits = 32, "32 hash bits");
    REFUSED(JOINED, BODY(JOINED, joined)->job->slots = 0, "slots");
    REFUSED(JOINED, BODY(JOINED, joined)->job->block_rows = 5, "windows");
    REFUSED(JOINED, BODY(JOINED, joined)->job->window_blocks = 5, "windows");
    REFUSED(JOINED, BODY(JOINED, joined)->job->slots = FRAME_SLOTS_MAX + 1, "slots");
    REFUSED(JOINED, BODY(JOINED, joined)->job->n_tensors = 0, "slices");
    REFUSED(JOINED, BODY(JOINED, joined)->job->n_shards = 0, "without shards");
    REFUSED(JOINED, BODY(JOINED, joined)->job->n_shards = 1, "slices");
    REFUSED(JOINED, BODY(JOINED, joined)->job->shards[1]->first = 97, "begin");
    REFUSED(JOINED, BODY(JOINED, joined)->job->shards[0]->slices = wide, "slice");
    REFUSED(JOINED, BODY(JOINED, joined)->job->shards[0]->slices = empty, "slice");
    REFUSED(JOINED, BODY(JOINED, joined)->job->shards[0]->endpoint = (char[]){""}, "empty");
    static uint32_t twice[] = {1, 1, 2, 3}, high[] = {0, 1, 2, FRAME_SLOTS_MAX};
    REFUSED(ASSIGN, BODY(ASSIGN, assign)->slots = twice, "ascending");
    REFUSED(ASSIGN, BODY(ASSIGN, assign)->extra_slots = high + 3, "below");
}

/* -- bytes that are no message, or more than one -- */

static dp_err parse_bytes(const void *bytes, size_t n, dp_error *err)
{
    struct arena arena = {0};
    const Dp__Header *header = NULL;
    dp_err rc = frame_parse(&arena, bytes, n, 0, &header, err);
    arena_fini(&arena);
    return rc;
}

Test(frame, one_body)
{
    uint8_t bytes[BYTES_MAX], two[2 * BYTES_MAX];
    dp_error err = {0};
    samples_fill(samples);
    size_t n = pack(&samples[HEARTBEAT].header, bytes);
    memcpy(two, bytes, n);
    memcpy(two + n, bytes, n);
    cr_assert_eq(parse_bytes(two, n, &err), DP_OK, "%s", err.text);
    cr_assert_eq(parse_bytes(two, 2 * n, &err), DP_PROTO);
    cr_assert(strstr(err.text, "more than one body"), "%s", err.text);
    cr_assert_eq(parse_bytes("", 0, &err), DP_PROTO);
    cr_assert_eq(parse_bytes("\x18\x05", 2, &err), DP_PROTO);
    cr_assert(strstr(err.text, "no body"), "%s", err.text);
    cr_assert_eq(parse_bytes("\xfa\x07\x00", 3, &err), DP_PROTO, "a body of a later version");
    cr_assert(strstr(err.text, "does not know"), "%s", err.text);
    cr_assert_eq(parse_bytes("\x18\x05\x20\x07\xea\x01\x00", 7, &err), DP_OK, "a field of a later version: %s",
                 err.text);
}

/* Whether a message without its last bytes is one that proves nothing, or not whose it is. */
static bool cut_before_proof(const Dp__Header *header, size_t cut)
{
    Dp__Header less = *header;
    less.user = 0;
    bool fits = header->proof.len > 0 && frame_size(&less) == cut;
    less.proof.len = 0;
    return fits || (header->proof.len > 0 && frame_size(&less) == cut);
}

Test(frame, truncations)
{
    samples_fill(samples);
    struct arena arena = {0};
    for (size_t i = 0; i < SAMPLE_COUNT; i++) {
        uint8_t bytes[BYTES_MAX];
        size_t n = pack(&samples[i].header, bytes);
        for (size_t cut = 0; cut < n; cut++) {
            AUTOFREE uint8_t *exact = mem_array(MAX(cut, (size_t)1), 1); /* so that sanitizers see an overrun */
            memcpy(exact, bytes, cut);
            const Dp__Header *header = NULL;
            dp_error err = {0};
            dp_err want = cut_before_proof(&samples[i].header, cut) ? DP_OK : DP_PROTO;
            cr_assert_eq(frame_parse(&arena, exact, cut, samples[i].payload_count, &header, &err), want, "%s at %zu",
                         samples[i].name, cut);
        }
    }
    arena_fini(&arena);
    ASSERT_NO_LEAKS();
}

/* As many classes as there may be, in each place that lists them. */
Test(frame, the_largest_join_fits)
{
    static double labels[FRAME_LABELS_MAX];
    samples_fill(samples);
    for (size_t i = 0; i < FRAME_LABELS_MAX; i++)
        labels[i] = (double)i;
    Dp__Join *join = samples[JOIN].header.join;
    join->classes = FRAME_LABELS_MAX;
    join->n_labels = join->train->n_labels = join->eval->n_labels = FRAME_LABELS_MAX;
    join->labels = join->train->labels = join->eval->labels = labels;
    static char texts[FRAME_LABELS_MAX][17], *list[FRAME_LABELS_MAX]; /* as many bytes as there may be */
    for (size_t i = 0; i < FRAME_LABELS_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "%016zu", i);
        list[i] = texts[i];
    }
    join->n_label_texts = FRAME_LABELS_MAX;
    join->label_texts = list;
    size_t n = frame_size(&samples[JOIN].header);
    AUTOFREE uint8_t *bytes = mem_array(n, 1);
    frame_write(&samples[JOIN].header, bytes);
    struct arena arena = {0};
    const Dp__Header *header;
    dp_error err = {0};
    cr_assert_eq(frame_parse(&arena, bytes, n, 0, &header, &err), DP_OK, "%s", err.text);
    arena_fini(&arena);
}

/* Two bytes on the wire that ask for a hundred in memory, a million times. */
Test(frame, memory_is_bounded)
{
    size_t n = FRAME_HEADER_BYTES_MAX;
    AUTOFREE uint8_t *bytes = mem_array(n + 1, 1);
    size_t inner = n - 4;
    memcpy(bytes, "\xb2\x01", 2); /* join, length as a four-byte varint */
    inner -= 2;
    bytes[2] = (uint8_t)(0x80 | (inner & 0x7f));
    bytes[3] = (uint8_t)(0x80 | (inner >> 7 & 0x7f));
    bytes[4] = (uint8_t)(0x80 | (inner >> 14 & 0x7f));
    bytes[5] = (uint8_t)(inner >> 21);
    for (size_t at = 6; at + 1 < n; at += 2)
        memcpy(bytes + at, "\x1a\x00", 2); /* an empty tensor */
    struct arena arena = {0};
    const Dp__Header *header;
    dp_error err = {0};
    cr_assert_eq(frame_parse(&arena, bytes, n - 1, 0, &header, &err), DP_PROTO);
    cr_assert(strstr(err.text, "memory") || strstr(err.text, "not a protobuf"), "%s", err.text);
    cr_assert_leq(arena.wanted, FRAME_ARENA_BYTES_MAX);
    cr_assert_eq(frame_parse(&arena, bytes, n + 1, 0, &header, &err), DP_PROTO);
    cr_assert(strstr(err.text, "at most"), "%s", err.text);
    arena_fini(&arena);
    ASSERT_NO_LEAKS();
}

Test(frame, arena_is_one_buffer_in_steady_state)
{
    uint8_t bytes[BYTES_MAX];
    samples_fill(samples);
    size_t n = pack(&samples[JOINED].header, bytes);
    struct arena arena = {0};
    const Dp__Header *header;
    dp_error err = {0};
    cr_assert_eq(frame_parse(&arena, bytes, n, 0, &header, &err), DP_OK);
    cr_assert(arena.overflow);
    cr_assert_eq(frame_parse(&arena, bytes, n, 0, &header, &err), DP_OK);
    const uint8_t *base = arena.base;
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(frame_parse(&arena, bytes, n, 0, &header, &err), DP_OK);
        cr_assert_null(arena.overflow);
        cr_assert_eq(arena.base, base);
    }
    arena_fini(&arena);
    ASSERT_NO_LEAKS();
}

/* -- ranges of a job -- */

Test(frame, nodes)
{
    static const uint32_t slots[] = {1, 2, 3, 5, 8, 4096};
    static const uint32_t root[] = {0, 1, 2, 3, 3, 12};
    for (size_t i = 0; i < ARRAY_LEN(slots); i++) {
        cr_assert(frame_node_valid(root[i], 0, slots[i]));
        cr_assert_not(frame_node_valid(root[i] + 1, 0, slots[i]));
        cr_assert_not(frame_node_valid(root[i], 1, slots[i]));
        cr_assert(frame_node_valid(0, slots[i] - 1, slots[i]));
        cr_assert_not(frame_node_valid(0, slots[i], slots[i]));
        cr_assert_not(frame_node_valid(0, UINT32_MAX, slots[i]));
    }
    cr_assert(frame_node_valid(1, 2, 5));
    cr_assert_not(frame_node_valid(1, 3, 5));
    cr_assert_not(frame_node_valid(32, 0, 8));
    cr_assert_not(frame_node_valid(0, 0, 0));
}

static dp_err check(Dp__PushPull msg, size_t payload_bytes)
{
    static const uint64_t elems[] = {100, 7};
    static const struct frame_limits limits = {
        .first_slice = 10, .slice_count = 2, .slots = 8, .slice_elems = elems, .total_steps = 50};
    dp_error err = {0};
    dp_err rc = frame_check_push_pull(&msg, &limits, payload_bytes, &err);
    cr_assert((rc == DP_OK) == (err.text[0] == '\0'));
    return rc;
}

Test(frame, ranges_of_a_job)
{
    Dp__PushPull push = DP__PUSH_PULL__INIT, pull = DP__PUSH_PULL__INIT;
    push.slice = 11;
    push.push = true;
    push.step = 49;
    pull.slice = 10;
    pull.pull = true;
    pull.pull_step = 50;
    pull.have = 51;
    cr_assert_eq(check(push, 28), DP_OK);
    cr_assert_eq(check(push, SIZE_MAX), DP_OK);
    cr_assert_eq(check(pull, SIZE_MAX), DP_OK);
    cr_assert_eq(check(push, 24), DP_PROTO);
    cr_assert_eq(check(push, 0), DP_PROTO);
    cr_assert_eq(check(pull, 400), DP_PROTO);
#define WITH(msg, change)        \
    (__extension__({             \
        Dp__PushPull m_ = (msg); \
        m_.change;               \
        m_;                      \
    }))
    cr_assert_eq(check(WITH(push, slice = 9), 28), DP_RANGE);
    cr_assert_eq(check(WITH(push, slice = 12), 28), DP_RANGE);
    cr_assert_eq(check(WITH(push, slice = UINT32_MAX), 28), DP_RANGE);
    cr_assert_eq(check(WITH(push, step = 50), 28), DP_RANGE);
    cr_assert_eq(check(WITH(push, step = UINT64_MAX), 28), DP_RANGE);
    cr_assert_eq(check(WITH(push, index = 8), 28), DP_RANGE);
    cr_assert_eq(check(WITH(push, level = 4), 28), DP_RANGE);
    cr_assert_eq(check(WITH(pull, pull_step = 51), SIZE_MAX), DP_RANGE);
    cr_assert_eq(check(WITH(pull, have = 401), SIZE_MAX), DP_OK, "on arrival each slot makes a version");
    cr_assert_eq(check(WITH(pull, have = 402), SIZE_MAX), DP_RANGE);
}

/* -- texts -- */

Test(text, printable)
{
    static const char *const good[] = {"", "plain", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xc2\xa0"};
    static const char *const bad[] = {"\n",
                                      "\x7f",
                                      "\xc2",
                                      "\xc0\x80",
                                      "\xe0\x80\x80",
                                      "\x80",
                                      "\xed\xa0\x80",
                                      "\xe2\x82",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xc2\x85",
                                      "a\x1b[31m",
                                      "\xf0\x80\x80\x80"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        cr_assert(text_printable(good[i], strlen(good[i])), "%zu", i);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_not(text_printable(bad[i], strlen(bad[i])), "%zu", i);
    cr_assert_not(text_printable("a\0b", 3));
}

Test(text, clean)
{
    char out[8];
    text_clean(out, sizeof out, "a\nb\xff");
    cr_assert_str_eq(out, "a?b?");
    text_clean(out, sizeof out, "123456\xc3\xa9");
    cr_assert_str_eq(out, "123456", "a character is not cut in two");
    text_clean(out, sizeof out, "12345\xc3\xa9");
    cr_assert_str_eq(out, "12345\xc3\xa9");
    text_clean(out, 1, "abc");
    cr_assert_str_eq(out, "");
}

/* -- rows against a job -- */

static dp_err check_part(const Dp__RowsPushPull *msg, const size_t *payload_bytes)
{
    static const struct frame_part parts[] = {{0, 99, 1}, {100, UINT64_MAX, 1 << 16}};
    static const struct frame_rows_limits limits = {
        .first_part = 10, .part_count = 2, .slots = 8, .parts = parts, .total_steps = 50};
    dp_error err = {0};
    dp_err rc = frame_check_part(msg, &limits, payload_bytes, &err);
    cr_assert((rc == DP_OK) == (err.text[0] == '\0'));
    return rc;
}

Test(frame, ranges_of_rows)
{
    Dp__Keys keys = DP__KEYS__INIT;
    Dp__RowsPushPull push = DP__ROWS_PUSH_PULL__INIT;
    const size_t bytes[] = {3 * 8, 3 * 4};
    keys.count = 3;
    keys.sent = true;
    push.part = 10;
    push.push = true;
    push.step = 49;
    push.push_keys = &keys;
    cr_assert_eq(check_part(&push, bytes), DP_OK);
    cr_assert_eq(check_part(&push, (size_t[]){3 * 8, 3 * 8}), DP_PROTO);
    cr_assert_eq(check_part(&push, (size_t[]){3 * 4, 3 * 4}), DP_PROTO);
    push.part = 11;
    cr_assert_eq(check_part(&push, bytes), DP_PROTO);
    cr_assert_eq(check_part(&push, (size_t[]){3 * 8, 3 * (4 << 16)}), DP_OK);
    keys.count = 129; /* of 2^16 floats */
    cr_assert_eq(check_part(&push, (size_t[]){129 * 8, 129 * (4 << 16)}), DP_RANGE);
    keys.count = 3;
    for (uint32_t part = 9; part <= 12; part += 3) {
        push.part = part;
        cr_assert_eq(check_part(&push, bytes), DP_RANGE);
    }
    push.part = 10;
    push.step = 50;
    cr_assert_eq(check_part(&push, bytes), DP_RANGE);
    push.step = 0;
    push.index = 8;
    cr_assert_eq(check_part(&push, bytes), DP_RANGE);
    push.index = 0;
    push.pull = true;
    push.pull_step = 51;
    cr_assert_eq(check_part(&push, bytes), DP_RANGE);
}

static dp_err check_ids(size_t count, const uint64_t *ids, uint64_t hash)
{
    static const struct frame_part part = {100, 200, 1};
    Dp__Keys keys = DP__KEYS__INIT;
    keys.count = (uint32_t)count;
    keys.hash = hash;
    char unaligned[1 + 4 * sizeof *ids];
    if (count)
        memcpy(unaligned + 1, ids, count * sizeof *ids);
    dp_error err = {0};
    return frame_check_ids(unaligned + 1, &keys, &part, &err);
}

Test(frame, lists_of_rows)
{
    static const uint64_t good[] = {100, 150, 151, 200}, twice[] = {100, 150, 150, 200}, low[] = {99, 150, 151, 152},
                          high[] = {100, 150, 151, 201}, falls[] = {100, 151, 150, 200};
    cr_assert_eq(frame_keys_hash(good, 4), 0x62d784e7c32248e, "what a client hashes must never change");
    cr_assert_eq(check_ids(4, good, frame_keys_hash(good, 4)), DP_OK);
    cr_assert_eq(check_ids(3, good, frame_keys_hash(good, 3)), DP_OK);
    cr_assert_eq(check_ids(0, good, 0), DP_OK);
    cr_assert_eq(check_ids(4, good, frame_keys_hash(good, 3)), DP_PROTO);
    cr_assert_eq(check_ids(4, twice, frame_keys_hash(twice, 4)), DP_PROTO);
    cr_assert_eq(check_ids(4, falls, frame_keys_hash(falls, 4)), DP_PROTO);
    cr_assert_eq(check_ids(4, low, frame_keys_hash(low, 4)), DP_PROTO);
    cr_assert_eq(check_ids(4, high, frame_keys_hash(high, 4)), DP_PROTO);
}

Test(frame, exports)
{
#define MSG (samples[EXPORT].header.export)
    REFUSED(EXPORT, MSG->id = 0, "without an id");
    REFUSED(EXPORT, MSG->offset = 2, "no multiple of 4");
    REFUSED(EXPORT, MSG->bytes = 0, "Export of 0 bytes");
    REFUSED(EXPORT, MSG->bytes = FRAME_EXPORT_BYTES_MAX + 4, "Export of 4194308 bytes");
    REFUSED(EXPORT, MSG->bytes = 6, "Export of 6 bytes");
    REFUSED(EXPORT, MSG->done = true, "Export of 4194304 bytes");
    TAKEN(EXPORT, (MSG->done = true, MSG->bytes = 0));
#undef MSG
    static char long_path[FRAME_TEXT_MAX + 2];
    memset(long_path, 'x', sizeof long_path - 1);
    REFUSED(EXPORT_THERE, samples[EXPORT_THERE].header.export->bytes = 4, "Export of 4 bytes");
    REFUSED(EXPORT_THERE, samples[EXPORT_THERE].header.export->on_server = long_path, "longer than");
    REFUSED(EXPORT_THERE, samples[EXPORT_THERE].header.export->on_server = "a\nb", "cannot be printed");
#define MSG (samples[EXPORTED].header.exported)
    REFUSED(EXPORTED, MSG->offset = MSG->total + 1, "Exported from byte");
    REFUSED(EXPORTED, MSG->offset = MSG->total, "Exported from byte");
    REFUSED(EXPORTED, MSG->path = "\x01", "cannot be printed");
    REFUSED(EXPORTED, samples[EXPORTED].payload_count = 2, "Exported with 2 payload frames");
    TAKEN(EXPORTED, samples[EXPORTED].payload_count = 0);
#undef MSG
}

Test(frame, checkpoint_refusals)
{
    char long_path[FRAME_TEXT_MAX + 2];
    memset(long_path, 'x', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    REFUSED(CHECKPOINT, samples[CHECKPOINT].payload_count = 1, "payload");
    REFUSED(CHECKPOINTED, samples[CHECKPOINTED].payload_count = 1, "payload");
    REFUSED(CHECKPOINTED, samples[CHECKPOINTED].header.checkpointed->path = "a\nb", "cannot be printed");
    REFUSED(CHECKPOINTED, samples[CHECKPOINTED].header.checkpointed->path = long_path, "longer than");
    TAKEN(CHECKPOINTED, samples[CHECKPOINTED].header.checkpointed->train_step = UINT64_MAX);
}

Test(frame, what_data_are_doubted_for)
{
#define SET (samples[JOIN_DOUBTFUL].header.join->train)
    REFUSED(JOIN_DOUBTFUL, SET->zero_loss = NAN, "no number from 0 on");
    REFUSED(JOIN_DOUBTFUL, SET->zero_loss = -1, "no number from 0 on");
    REFUSED(JOIN_DOUBTFUL, SET->majority = SET->rows + 1, "more rows of one label than rows");
    REFUSED(JOIN_DOUBTFUL, SET->scales = "\x1b[2J", "cannot be printed");
    TAKEN(JOIN_DOUBTFUL, SET->majority = SET->rows);
#undef SET
}
