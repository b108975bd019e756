/* dp-ctl export: theta of one step as a file, handed out by pieces or written on this host, while the job runs, or
 * where its model could not be written. An export of each fetch holds the pinned versions; pieces are made of them as
 * they are asked for, so that the head keeps no copy. Invariants: a fetch whose `busy` is set is freed by what it waits
 * for; no fetch outlives FETCH_IDLE_MS without a question. Thread: head. */
#include "server/result/fetch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "server/save/export.h"
#include "server/talk/answers.h"
#include "server/talk/guard.h"
#include "server/talk/shards.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

enum {
    FETCHES_MAX = 4,
    FETCH_IDLE_MS = 30000, /* without a question; then theta is let go */
    FETCH_PINS_MS = 60000, /* for the shards to hand out theta */
    FETCH_LIVELY_MS = 10000,
    NOT_YET_MS = 1000, /* until a question is answered that the file is not ready */
};

struct fetch {
    uint64_t id; /* 0: none */
    uint64_t pin;
    struct export *export;
    bool ready;     /* pieces can be had, or the file is written */
    bool busy;      /* libuv works on the export */
    bool over;      /* to be freed after that */
    bool on_server; /* the file is written here, at */
    char path[FRAME_TEXT_MAX + 1];
    int held;
    uint64_t begun_ms, heard_ms;
    bool asked; /* a question waits for its answer: */
    struct routing_id route;
    uint64_t request;
    struct head *head;
};

struct fetches {
    struct fetch list[FETCHES_MAX];
};

static struct fetch *find(const struct head *head, uint64_t id)
{
    for (size_t i = 0; head->fetches && i < FETCHES_MAX; i++)
        if (head->fetches->list[i].id == id)
            return &head->fetches->list[i];
    return NULL;
}

static void let_go(struct fetch *fetch)
{
    if (fetch->busy) {
        fetch->over = true;
        return;
    }
    export_free(&fetch->export);
    *fetch = (struct fetch){.held = -1};
}

/* ---- answers ---- */

static void refuse(struct fetch *fetch, const dp_error *err)
{
    Dp__Header request = DP__HEADER__INIT;
    request.request = fetch->request;
    if (fetch->asked)
        head_refuse(fetch->head, &fetch->route, &request, err->code, err->text);
    fetch->asked = false;
}

static void answer(struct fetch *fetch, Dp__Exported *body, zmq_msg_t *payload)
{
    Dp__Header header = DP__HEADER__INIT;
    header.request = fetch->request;
    header.body_case = DP__HEADER__BODY_EXPORTED;
    header.exported = body;
    body->id = fetch->id;
    fetch->asked = false;
    if (head_send(fetch->head, &fetch->route, &header, payload))
        log_debug("reply-lost to=dp-ctl");
}

static Dp__Exported facts_of(const struct fetch *fetch)
{
    Dp__Exported body = DP__EXPORTED__INIT;
    struct export_facts facts = export_facts(fetch->export);
    body.total = facts.bytes;
    body.digest = facts.digest;
    body.train_step = facts.steps;
    body.complete = facts.complete;
    body.diverged = facts.diverged;
    return body;
}

static void answer_not_yet(struct fetch *fetch)
{
    Dp__Exported body = DP__EXPORTED__INIT;
    answer(fetch, &body, NULL);
}

static void answer_written(struct fetch *fetch)
{
    char path[FRAME_TEXT_MAX + 1];
    Dp__Exported body = facts_of(fetch);
    text_clean(path, sizeof path, export_path(fetch->export));
    body.path = path;
    answer(fetch, &body, NULL);
}

static void answer_piece(struct fetch *fetch, const Dp__Export *asked)
{
    Dp__Exported body = facts_of(fetch);
    zmq_msg_t payload;
    dp_error err;
    if (asked->offset >= body.total) {
        (void)dp_fail(&err, DP_RANGE, "the model has %" PRIu64 " bytes, none from %" PRIu64 " on", body.total,
                      asked->offset);
        refuse(fetch, &err);
        return;
    }
    size_t bytes = (size_t)MIN(body.total - asked->offset, (uint64_t)asked->bytes);
    char *block = mem_array(bytes, 1);
    if (block)
        export_read(fetch->export, asked->offset, bytes, block);
    dp_err e = block ? head_answer_frame(fetch->head, &fetch->route, block, bytes, &payload) : DP_NOMEM;
    if (e == DP_BUSY)
        return; /* it has not read the piece before */
    if (e) {
        (void)dp_fail(&err, DP_NOMEM, "out of memory for a piece of the model");
        refuse(fetch, &err);
        return;
    }
    body.offset = asked->offset;
    answer(fetch, &body, &payload);
}

/* ---- the file becomes ready ---- */

static void on_ready(void *arg, const dp_error *err)
{
    struct fetch *fetch = arg;
    fetch->busy = false;
    fetch->ready = !err->code;
    if (fetch->over) {
        let_go(fetch);
    } else if (err->code) {
        refuse(fetch, err);
        let_go(fetch);
    } else if (fetch->on_server) {
        log_info("export-asked-for path=\"%s\"", export_path(fetch->export));
        answer_written(fetch);
    } else if (fetch->asked) {
        answer_not_yet(fetch); /* it asks again, now for a piece */
    }
}

static void on_whole(struct fetch *fetch)
{
    const struct export_place place = {.path = fetch->path, .exact = true, .held = &fetch->held};
    fetch->busy = true;
    if (fetch->on_server)
        export_write(fetch->export, &fetch->head->loop, &place, on_ready, fetch);
    else
        export_seal(fetch->export, &fetch->head->loop, on_ready, fetch);
}

bool head_fetch_pinned(struct head *head, uint32_t shard, struct event *event)
{
    for (size_t i = 0; head->fetches && i < FETCHES_MAX; i++) {
        struct fetch *fetch = &head->fetches->list[i];
        if (fetch->id == 0 || fetch->pin != event->pinned.pin)
            continue;
        export_add(fetch->export, shard, event->pinned.versions, event->pinned.copies);
        if (export_whole(fetch->export))
            on_whole(fetch);
        return true;
    }
    return false;
}

/* ---- questions ---- */

/* Anybody who reaches the port could have files written. */
static dp_err admit(const struct head *head, const Dp__Header *request, dp_error *err)
{
    const Dp__Export *asked = request->export;
    if (head->state == HEAD_CLOSING)
        return dp_fail(err, DP_SHUTDOWN, "the server is shutting down");
    if (!head->job.settled)
        return dp_fail(err, DP_REFUSED, "there is no model yet: no worker has joined");
    if (asked->offset > 0)
        return dp_fail(err, DP_REFUSED,
                       "the server has let go of this export, as nothing was asked for %d s: try again",
                       FETCH_IDLE_MS / 1000);
    if (asked->on_server[0] && !head_guards_admin(head))
        return dp_fail(err, DP_REFUSED,
                       "--on-server is refused where the server has %s, since anybody could have files "
                       "written: leave it out, and the file comes here",
                       head->opts->users_all ? "--allow-users all" : "--insecure-admin");
    if (asked->on_server[0] && request->user != guard_uid(head->guard))
        return dp_fail(err, DP_REFUSED,
                       "--on-server is for the user of the server (%s), as whom the file would be written: leave it "
                       "out, and the file comes here",
                       guard_user(head->guard));
    return DP_OK;
}

static dp_err begin(struct head *head, struct fetch *fetch, const Dp__Export *asked, dp_error *err)
{
    *fetch = (struct fetch){
        .id = asked->id, .begun_ms = mono_ms(), .on_server = asked->on_server[0] != '\0', .held = -1, .head = head};
    (void)str_copy(fetch->path, sizeof fetch->path, asked->on_server);
    dp_err e = export_new(&head->job, head->global_low, &fetch->export, err);
    if (!e && head->diverged)
        export_mark_diverged(fetch->export);
    if (!e && (fetch->pin = seats_pin(&head->seats, head->global_low)) == 0)
        e = dp_fail(err, DP_BUSY, "the shards have too much to do for the export, try again");
    if (e)
        let_go(fetch);
    return e;
}

/* A fetch that is there, or a new one. */
static dp_err fetch_for(struct head *head, const Dp__Header *request, struct fetch **ret_fetch, dp_error *err)
{
    const Dp__Export *asked = request->export;
    struct fetch *fetch = find(head, asked->id);
    dp_err e = DP_OK;
    if (!fetch && (e = admit(head, request, err)) != DP_OK)
        return e;
    if (!fetch && !head->fetches && !(head->fetches = mem_array_zero(1, sizeof *head->fetches)))
        return dp_fail(err, DP_NOMEM, "out of memory for the export");
    if (!fetch) {
        fetch = find(head, 0);
        e = fetch ? begin(head, fetch, asked, err)
                  : dp_fail(err, DP_BUSY, "%d exports are under way, try again when one is over", FETCHES_MAX);
    }
    *ret_fetch = fetch;
    return e;
}

bool head_fetch_known(const struct head *head, const struct routing_id *route, const Dp__Export *asked)
{
    const struct fetch *fetch = asked->id ? find(head, asked->id) : NULL;
    return fetch && routing_id_same(&fetch->route, route);
}

void head_on_export(struct head *head, const struct routing_id *route, const Dp__Header *request)
{
    const Dp__Export *asked = request->export;
    struct fetch *fetch = NULL, none = {.id = asked->id, .head = head, .route = *route, .request = request->request};
    dp_error err;
    if (asked->done) {
        if ((fetch = find(head, asked->id)) != NULL)
            let_go(fetch);
        answer_not_yet(&none);
        return;
    }
    if (fetch_for(head, request, &fetch, &err)) {
        head_refuse(head, route, request, err.code, err.text);
        return;
    }
    assert(fetch);
    fetch->asked = true;
    fetch->route = *route;
    fetch->request = request->request;
    fetch->heard_ms = mono_ms();
    if (fetch->ready && fetch->on_server)
        answer_written(fetch);
    else if (fetch->ready)
        answer_piece(fetch, asked);
}

/* ---- time ---- */

static void watch(struct fetch *fetch, uint64_t now_ms)
{
    dp_error err;
    if (!fetch->ready && !fetch->busy && now_ms - fetch->begun_ms > FETCH_PINS_MS) {
        (void)dp_fail(&err, DP_TIMEOUT, "not all shards have handed out the model within %d s", FETCH_PINS_MS / 1000);
        refuse(fetch, &err);
        let_go(fetch);
    } else if (fetch->asked && now_ms - fetch->heard_ms > NOT_YET_MS) {
        answer_not_yet(fetch);
    } else if (now_ms - MIN(now_ms, fetch->heard_ms) > FETCH_IDLE_MS) {
        let_go(fetch);
    }
}

void head_fetch_watch(struct head *head, const struct news *news)
{
    const uint64_t now_ms = news->now_ms;
    for (size_t i = 0; head->fetches && i < FETCHES_MAX; i++)
        if (head->fetches->list[i].id)
            watch(&head->fetches->list[i], now_ms);
}

bool head_fetching(const struct head *head)
{
    uint64_t now = mono_ms();
    for (size_t i = 0; head->fetches && i < FETCHES_MAX; i++) {
        const struct fetch *fetch = &head->fetches->list[i];
        if (fetch->id && (fetch->busy || now - MIN(now, fetch->heard_ms) < FETCH_LIVELY_MS))
            return true;
    }
    return false;
}

void head_fetch_fini(struct head *head)
{
    for (size_t i = 0; head->fetches && i < FETCHES_MAX; i++)
        let_go(&head->fetches->list[i]);
    free(head->fetches);
    head->fetches = NULL;
}
