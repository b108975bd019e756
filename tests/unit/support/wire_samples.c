/* One message of each kind. Thread: any, one at a time. */
#include "tests/unit/support/wire_samples.h"

static Dp__Metrics metrics;
static Dp__PushPull push_pull, push_arrival, push_shared;
static Dp__Params params, params_arrival, params_shared;
static Dp__Keys push_keys, pull_keys;
static Dp__RowsPushPull rows_push_pull, rows_push_shared;
static Dp__Rows rows, rows_shared;
static Dp__Error error, error_arrival, error_busy;
static Dp__Hello hello;
static Dp__Welcome welcome;
static Dp__Dataset train, eval;
static Dp__Join join, join_schema;
static Dp__Joined joined, joined_tables, joined_shared, joined_schema;
static Dp__Schema schema;
static Dp__Tensor tensors[2], *tensor_list[] = {&tensors[0], &tensors[1]};
static Dp__Shard shards[2], *shard_list[] = {&shards[0], &shards[1]};
static Dp__Tensor tables[2], *table_list[] = {&tensors[1], &tables[0], &tables[1]};
static Dp__Part parts[4], *parts_a[] = {&parts[0], &parts[1]}, *parts_b[] = {&parts[2], &parts[3]};
static Dp__Shard table_shards[2], *table_shard_list[] = {&table_shards[0], &table_shards[1]};
static Dp__Job job, early_job, table_job, shared_job, schema_job;
static Dp__Shard shared_shards[2], *shared_shard_list[] = {&shared_shards[0], &shared_shards[1]};
static Dp__Welcome welcome_shared;
static Dp__Assign assign;
static Dp__Heartbeat heartbeat, heartbeat_moved;
static Dp__Ask ask;
static Dp__Held held;
static Dp__HeartbeatAck ack;
static Dp__Bye bye;
static Dp__Notice notice;
static Dp__StatusRequest status_request;
static Dp__Status status;
static Dp__Set set, set_text;
static Dp__Applied applied;
static Dp__Stall stall;
static Dp__Error error_challenge;
static Dp__Dataset doubtful;
static Dp__Join join_doubtful;
static Dp__Export export_piece, export_there;
static Dp__Exported exported;
static Dp__Checkpoint checkpoint;
static Dp__Checkpointed checkpointed;
static Dp__Joined joined_again;

static double labels[] = {0, 1, 2};
static uint64_t weight_shape[] = {64, 3}, bias_shape[] = {3};
static uint64_t table_shape[] = {1000000, 4, 4}, hashed_shape[] = {16}, slices_bias[] = {3};
static uint64_t slices_a[] = {64, 32}, slices_b[] = {99};
static uint8_t accepted[] = {0x81, 0, 2};
static uint8_t challenge[FRAME_CHALLENGE_BYTES], proof[FRAME_PROOF_BYTES];
static uint32_t slots[] = {0, 1, 5, 4095}, extra_slots[] = {7};

static void fill_data_plane(void)
{
    dp__metrics__init(&metrics);
    metrics.count = 32561;
    metrics.loss = 10529.5625846;
    metrics.correct = 27673;
    dp__push_pull__init(&push_pull);
    push_pull.slice = 1023;
    push_pull.push = true;
    push_pull.step = 1999999;
    push_pull.level = 2;
    push_pull.index = 1;
    push_pull.metrics = &metrics;
    push_pull.pull = true;
    push_pull.pull_step = 2000000;
    push_pull.have = 2000000;
    dp__params__init(&params);
    params.slice = 1023;
    params.step = 2000000;
    params.version = 1998000;
    dp__error__init(&error);
    error.code = DP_STEP_DONE;
    error.text = "the step is complete";
    error.step = 12;
    error.slice = 3;
}

static void fill_rows(void)
{
    dp__keys__init(&push_keys);
    push_keys.hash = 0x1122334455667788;
    push_keys.count = 1000;
    dp__keys__init(&pull_keys);
    pull_keys.hash = 0x8877665544332211;
    pull_keys.count = 100000;
    pull_keys.sent = true;
    dp__rows_push_pull__init(&rows_push_pull);
    rows_push_pull.part = 1025;
    rows_push_pull.push = true;
    rows_push_pull.step = 1999999;
    rows_push_pull.level = 2;
    rows_push_pull.index = 1;
    rows_push_pull.metrics = &metrics;
    rows_push_pull.pull = true;
    rows_push_pull.pull_step = 2000000;
    rows_push_pull.have = 2000000;
    rows_push_pull.push_keys = &push_keys;
    rows_push_pull.pull_keys = &pull_keys;
    dp__rows__init(&rows);
    rows.part = 1025;
    rows.step = 2000000;
    rows.version = 1998000;
    rows.keys = 0x8877665544332211;
    rows.count = 100000;
}

/* Messages of commits on arrival. */
static void fill_arrival(void)
{
    push_arrival = push_pull;
    push_arrival.level = 0;
    push_arrival.read = 7990000;
    params_arrival = params;
    params_arrival.staleness = 3;
    params_arrival.accepted = (ProtobufCBinaryData){sizeof accepted, accepted};
    error_arrival = error;
    error_arrival.code = DP_REFUSED;
    error_arrival.text = "slots are pushed one by one";
    error_arrival.accepted = params_arrival.accepted;
    dp__error__init(&error_busy);
    error_busy.code = DP_BUSY;
    error_busy.text = "no descriptors are left";
    error_busy.hang_up = true;
}

static void fill_handshake(void)
{
    dp__hello__init(&hello);
    hello.magic = FRAME_MAGIC;
    hello.protocol_major = 1;
    hello.protocol_minor = 2;
    hello.features = 5;
    hello.role = DP__HELLO__ROLE__CTL;
    hello.worker = 0x1122334455667788;
    hello.name = "n\xc3\xb8rd:4711";
    hello.numerics = "0.1.0 avx2 OpenBLAS 0.3.21 Haswell";
    hello.threads = 4;
    hello.pid = 4711;
    dp__job__init(&early_job);
    early_job.model = "softmax";
    early_job.slots = 8;
    dp__welcome__init(&welcome);
    welcome.protocol_major = 1;
    welcome.protocol_minor = 2;
    welcome.features = 1;
    welcome.version = "0.1.0";
    welcome.heartbeat_ms = 500;
    welcome.lease_ms = 5000;
    welcome.frame_bytes_max = SLICE_BYTES;
    welcome.job = &early_job;
}

static void fill_tensors(void)
{
    dp__tensor__init(&tensors[0]);
    tensors[0].name = "weight";
    tensors[0].n_shape = 2;
    tensors[0].shape = weight_shape;
    tensors[0].init = 2;
    tensors[0].init_arg = 0.5f;
    tensors[0].regularized = true;
    dp__tensor__init(&tensors[1]);
    tensors[1].name = "bias";
    tensors[1].n_shape = 1;
    tensors[1].shape = bias_shape;
    dp__shard__init(&shards[0]);
    shards[0].endpoint = "tcp://*:40001";
    shards[0].n_slices = 2;
    shards[0].slices = slices_a;
    dp__shard__init(&shards[1]);
    shards[1].endpoint = "tcp://10.0.0.7:40002";
    shards[1].first = 96;
    shards[1].n_slices = 1;
    shards[1].slices = slices_b;
}

static void fill_join(void)
{
    dp__dataset__init(&train);
    train.rows = 1438;
    train.features = 64;
    train.fingerprint = 0xfedcba9876543210;
    train.n_labels = 3;
    train.labels = labels;
    train.name = "digits.csv.gz";
    dp__dataset__init(&eval);
    eval.rows = 359;
    eval.features = 64;
    eval.fingerprint = 1;
    dp__join__init(&join);
    join.train = &train;
    join.eval = &eval;
    join.n_tensors = 2;
    join.tensors = tensor_list;
    join.classes = 3;
    join.n_labels = 3;
    join.labels = labels;
}

/* A schema of two features, though the tensors are those of 64: the wire does not compare them. */
static void fill_schema(void)
{
    static char *names[] = {"x1", "x2"}, *ignored[] = {"", "id"};
    dp__schema__init(&schema);
    schema.format = 2;
    schema.n_names = 2;
    schema.names = names;
    schema.label = "target";
    schema.fields = 5;
    schema.label_number = 3;
    schema.n_ignored = 2;
    schema.ignored = ignored;
    schema.note = "column 'x1' of d.csv, a feature, counts the rows";
    join_schema = join;
    join_schema.schema = &schema;
    dp__joined__init(&joined_schema);
    schema_job = job;
    schema_job.schema = &schema;
    joined_schema.job = &schema_job;
}

static void fill_joined(void)
{
    dp__job__init(&job);
    job.model = "softmax";
    job.features = 64;
    job.classes = 3;
    job.intercept = true;
    job.batch = 128;
    job.slots = 8;
    job.seed = 42;
    job.train_steps = 1000;
    job.train_rows = 1438;
    job.eval_rows = 359;
    job.n_tensors = 2;
    job.tensors = tensor_list;
    job.n_shards = 2;
    job.shards = shard_list;
    job.n_labels = 3;
    job.labels = labels;
    job.evaluate = true;
    dp__joined__init(&joined);
    joined.job = &job;
}

static void fill_part(Dp__Part *part, uint32_t tensor, uint64_t first, uint64_t last)
{
    dp__part__init(part);
    part->tensor = tensor;
    part->first = first;
    part->last = last;
}

static void fill_tables(void)
{
    dp__tensor__init(&tables[0]);
    tables[0].name = "embedding";
    tables[0].kind = DP__TENSOR__KIND__TABLE;
    tables[0].n_shape = 3;
    tables[0].shape = table_shape;
    tables[0].regularized = true;
    dp__tensor__init(&tables[1]);
    tables[1].name = "words";
    tables[1].kind = DP__TENSOR__KIND__HASHED;
    tables[1].n_shape = 1;
    tables[1].shape = hashed_shape;
    fill_part(&parts[0], 1, 0, 499999);
    fill_part(&parts[1], 2, 0, INT64_MAX);
    fill_part(&parts[2], 1, 500000, 999999);
    fill_part(&parts[3], 2, (uint64_t)1 << 63, UINT64_MAX);
    dp__shard__init(&table_shards[0]);
    table_shards[0].endpoint = "tcp://*:40001";
    table_shards[0].n_slices = 1;
    table_shards[0].slices = slices_bias;
    table_shards[0].n_parts = 2;
    table_shards[0].parts = parts_a;
    dp__shard__init(&table_shards[1]);
    table_shards[1].endpoint = "tcp://*:40002";
    table_shards[1].first = 3;
    table_shards[1].n_parts = 2;
    table_shards[1].parts = parts_b;
    table_job = job;
    table_job.n_tensors = 3;
    table_job.tensors = table_list;
    table_job.shards = table_shard_list;
    dp__joined__init(&joined_tables);
    joined_tables.job = &table_job;
}

static void fill_control(void)
{
    dp__assign__init(&assign);
    assign.from_step = 300;
    assign.n_slots = 4;
    assign.slots = slots;
    assign.extra_step = 299;
    assign.n_extra_slots = 1;
    assign.extra_slots = extra_slots;
    dp__heartbeat__init(&heartbeat);
    heartbeat.step = 299;
    heartbeat.slots_done = 2;
    heartbeat.samples = 123456789;
    dp__heartbeat__init(&heartbeat_moved);
    heartbeat_moved.step = 299;
    heartbeat_moved.moved_bytes = 20000004;
    dp__ask__init(&ask);
    ask.piece = 1023;
    ask.step = 1999999;
    ask.pull_step = 2000000;
    dp__held__init(&held);
    held.piece = 1023;
    held.step = 1999999;
    held.accepted = (ProtobufCBinaryData){.len = sizeof accepted, .data = accepted};
    held.pull_step = 2000000;
    held.waits = true;
    dp__heartbeat_ack__init(&ack);
    ack.global_low = 298;
    dp__bye__init(&bye);
    bye.code = DP_STOPPED;
    bye.text = "stopped by SIGTERM";
    dp__notice__init(&notice);
    notice.code = DP_JOB_DONE;
    notice.text = "the job is done";
    dp__status_request__init(&status_request);
    dp__status__init(&status);
    dp__set__init(&set);
    set.name = (char *)"lr";
    set.value = 0.05;
    dp__set__init(&set_text);
    set_text.name = (char *)"consistency";
    set_text.text = (char *)"ssp:3";
    dp__applied__init(&applied);
    applied.step = 1234;
    applied.train_step = 1200;
    dp__stall__init(&stall);
    stall.step = 300;
    stall.for_ms = 31000;
    stall.text = "step 300 has been waiting for 31 s for slots 4-7 of alpha:4711";
}

/* Messages of shared memory, and of slots that are pushed one by one. */
/* Messages of proofs. */
static void fill_proofs(void)
{
    for (size_t i = 0; i < sizeof challenge; i++)
        challenge[i] = (uint8_t)(0xa0 + i);
    for (size_t i = 0; i < sizeof proof; i++)
        proof[i] = (uint8_t)(0xff - i);
    dp__error__init(&error_challenge);
    error_challenge.code = DP_REFUSED;
    error_challenge.text = "prove that you are of user root (uid 0)";
    error_challenge.challenge = (ProtobufCBinaryData){.len = sizeof challenge, .data = challenge};
    error_challenge.door = "dp-door-8877665544332211";
}

static struct sample proved(struct sample sample, uint32_t user)
{
    sample.header.proof = (ProtobufCBinaryData){.len = sizeof proof, .data = proof};
    sample.header.user = user;
    return sample;
}

static void fill_shared(void)
{
    push_shared = push_pull;
    push_shared.slab = 256;
    params_shared = params;
    params_shared.plane = 64;
    params_shared.done = 2000000;
    rows_push_shared = rows_push_pull;
    rows_push_shared.slab = 256;
    rows_push_shared.slab_at = 1000000;
    rows_push_shared.taken = UINT64_C(1) << 40;
    rows_shared = rows;
    rows_shared.ring = 3;
    rows_shared.ring_at = UINT64_C(1) << 40;
    rows_shared.done = 2000000;
    welcome_shared = welcome;
    welcome_shared.host = "b2c1e5a0-0000-4000-8000-000000000000 net:[4026531840]";
    shared_job = job;
    shared_job.singly = true;
    shared_job.shards = shared_shard_list;
    for (int i = 0; i < 2; i++) {
        shared_shards[i] = shards[i];
        shared_shards[i].shm = i ? "dp-shm-8877665544332211-1" : "dp-shm-8877665544332211-0";
    }
    dp__joined__init(&joined_shared);
    joined_shared.job = &shared_job;
}

/* dp-ctl checkpoint, and joining a job that went on from one. */
static void fill_checkpoint(void)
{
    dp__checkpoint__init(&checkpoint);
    dp__checkpointed__init(&checkpointed);
    checkpointed.step = 1234;
    checkpointed.train_step = 1200;
    checkpointed.path = (char *)"/var/lib/dp/step-000000001200";
    joined_again = joined;
    joined_again.train_step = 1200;
}

/* dp-ctl export, and what data are doubted for. */
static void fill_export(void)
{
    doubtful = train;
    doubtful.zero_loss = 0.25;
    doubtful.majority = 900;
    doubtful.scales = "'income' is around 5e+05, 'age' around 49";
    join_doubtful = join;
    join_doubtful.train = &doubtful;
    dp__export__init(&export_piece);
    export_piece.id = 0x1122334455667788;
    export_piece.offset = 1 << 20;
    export_piece.bytes = FRAME_EXPORT_BYTES_MAX;
    dp__export__init(&export_there);
    export_there.id = 0x1122334455667788;
    export_there.on_server = "/models/m.st";
    dp__exported__init(&exported);
    exported.id = 0x1122334455667788;
    exported.offset = 1 << 20;
    exported.total = 3 << 20;
    exported.digest = 0x8877665544332211;
    exported.train_step = 1200;
    exported.complete = true;
    exported.diverged = true;
    exported.path = "/models/m.st";
}

static struct sample sample(const char *name, size_t payload_count, Dp__Header__BodyCase body, void *message)
{
    struct sample s = {.name = name, .payload_count = payload_count};
    dp__header__init(&s.header);
    s.header.session = 0x0123456789abcdef;
    s.header.incarnation = 0x8877665544332211;
    s.header.body_case = body;
    s.header.push_pull = message; /* all bodies are pointers in one union */
    return s;
}

static void fill_all(void)
{
    fill_data_plane();
    fill_arrival();
    fill_rows();
    fill_handshake();
    fill_tensors();
    fill_join();
    fill_joined();
    fill_schema();
    fill_tables();
    fill_control();
    fill_shared();
    fill_proofs();
    fill_export();
    fill_checkpoint();
}

void samples_fill(struct sample *samples)
{
    fill_all();
    size_t i = 0;
    samples[i++] = sample("push_pull", 1, DP__HEADER__BODY_PUSH_PULL, &push_pull);
    samples[i++] = sample("params", 1, DP__HEADER__BODY_PARAMS, &params);
    samples[i++] = sample("error", 0, DP__HEADER__BODY_ERROR, &error);
    samples[i++] = sample("hello", 0, DP__HEADER__BODY_HELLO, &hello);
    samples[i++] = sample("welcome", 0, DP__HEADER__BODY_WELCOME, &welcome);
    samples[i++] = sample("join", 0, DP__HEADER__BODY_JOIN, &join);
    samples[i++] = sample("joined", 0, DP__HEADER__BODY_JOINED, &joined);
    samples[i++] = sample("assign", 0, DP__HEADER__BODY_ASSIGN, &assign);
    samples[i++] = sample("heartbeat", 0, DP__HEADER__BODY_HEARTBEAT, &heartbeat);
    samples[i++] = sample("heartbeat_ack", 0, DP__HEADER__BODY_HEARTBEAT_ACK, &ack);
    samples[i++] = sample("bye", 0, DP__HEADER__BODY_BYE, &bye);
    samples[i++] = sample("notice", 0, DP__HEADER__BODY_NOTICE, &notice);
    samples[i++] = sample("status_request", 0, DP__HEADER__BODY_STATUS_REQUEST, &status_request);
    samples[i++] = sample("status", 1, DP__HEADER__BODY_STATUS, &status);
    samples[i++] = sample("set", 0, DP__HEADER__BODY_SET, &set);
    samples[i++] = sample("applied", 0, DP__HEADER__BODY_APPLIED, &applied);
    samples[i++] = sample("joined_tables", 0, DP__HEADER__BODY_JOINED, &joined_tables);
    size_t named = i;
    samples[i++] = sample("rows_push_pull", 2, DP__HEADER__BODY_ROWS_PUSH_PULL, &rows_push_pull);
    samples[i++] = sample("rows", 1, DP__HEADER__BODY_ROWS, &rows);
    samples[i++] = sample("stall", 0, DP__HEADER__BODY_STALL, &stall);
    samples[i++] = sample("push_arrival", 1, DP__HEADER__BODY_PUSH_PULL, &push_arrival);
    samples[i++] = sample("params_arrival", 1, DP__HEADER__BODY_PARAMS, &params_arrival);
    samples[i++] = sample("error_arrival", 0, DP__HEADER__BODY_ERROR, &error_arrival);
    samples[i++] = sample("set_text", 0, DP__HEADER__BODY_SET, &set_text);
    samples[i++] = sample("push_shared", 0, DP__HEADER__BODY_PUSH_PULL, &push_shared);
    samples[i++] = sample("params_shared", 0, DP__HEADER__BODY_PARAMS, &params_shared);
    samples[i++] = sample("rows_push_shared", 1, DP__HEADER__BODY_ROWS_PUSH_PULL, &rows_push_shared);
    samples[i++] = sample("rows_shared", 0, DP__HEADER__BODY_ROWS, &rows_shared);
    samples[i++] = sample("welcome_shared", 0, DP__HEADER__BODY_WELCOME, &welcome_shared);
    samples[i++] = sample("joined_shared", 0, DP__HEADER__BODY_JOINED, &joined_shared);
    samples[i++] = sample("error_challenge", 0, DP__HEADER__BODY_ERROR, &error_challenge);
    samples[i++] = proved(sample("hello_proved", 0, DP__HEADER__BODY_HELLO, &hello), 1000);
    samples[i++] = proved(sample("set_proved", 0, DP__HEADER__BODY_SET, &set), 65534);
    samples[i++] = sample("join_schema", 0, DP__HEADER__BODY_JOIN, &join_schema);
    samples[i++] = sample("joined_schema", 0, DP__HEADER__BODY_JOINED, &joined_schema);
    samples[i++] = sample("error_busy", 0, DP__HEADER__BODY_ERROR, &error_busy);
    samples[i++] = sample("join_doubtful", 0, DP__HEADER__BODY_JOIN, &join_doubtful);
    samples[i++] = sample("export", 0, DP__HEADER__BODY_EXPORT, &export_piece);
    samples[i++] = sample("export_there", 0, DP__HEADER__BODY_EXPORT, &export_there);
    samples[i++] = sample("exported", 1, DP__HEADER__BODY_EXPORTED, &exported);
    samples[i++] = sample("heartbeat_moved", 0, DP__HEADER__BODY_HEARTBEAT, &heartbeat_moved);
    samples[i++] = sample("ask", 0, DP__HEADER__BODY_ASK, &ask);
    samples[i++] = sample("held", 0, DP__HEADER__BODY_HELD, &held);
    samples[i++] = sample("checkpoint", 0, DP__HEADER__BODY_CHECKPOINT, &checkpoint);
    samples[i++] = sample("checkpointed", 0, DP__HEADER__BODY_CHECKPOINTED, &checkpointed);
    samples[i++] = sample("joined_again", 0, DP__HEADER__BODY_JOINED, &joined_again);
    for (i = 2; i < named; i++) /* the data plane does without request ids */
        samples[i].header.request = 1000 + i;
}
