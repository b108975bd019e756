/* Cuts on a shard's thread; see cut.h. Thread: shard. */
#include "server/net/cut.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "server/dense/keep_room.h"
#include "server/net/events.h"
#include "server/shard/cut.h"
#include "server/store/folder.h"
#include "server/store/stream.h"
#include "server/store/writer.h"

static void wake(void *arg)
{
    zuv_wake(arg);
}

void port_cut_ready(void *arg)
{
    struct port_state *port = arg;
    wake(port->wake);
}

void port_cut_drop(struct port_state *port)
{
    stream_free(&port->cut.stream);
    cut_drop(&port->shard);
    if (port->shard.own.room)
        keep_room_rest(port->shard.own.room);
    port->cut.on = false;
}

/* The end of what is asked for. `text`: NULL where the file is written. */
static void answer(struct port_state *port, enum cut_outcome outcome, const struct stream_outcome *file,
                   const char *text)
{
    const struct command_cut asked = port->cut.asked;
    struct event event = {.kind = EVENT_CUT, .cut = {.number = asked.number, .step = asked.step, .outcome = outcome}};
    event.cut.bytes = file ? file->bytes : 0;
    event.cut.digest = file ? file->digest : 0;
    event.cut.text = text ? strdup(text) : NULL;
    port_cut_drop(port);
    port_emit(port, &event);
}

static void fail(struct port_state *port, const char *text)
{
    answer(port, CUT_FAILED, NULL, text);
}

/* All pieces are kept: the file begins. False: the cut is over. */
static bool begin(struct port_state *port)
{
    struct port_cut *cut = &port->cut;
    char path[PATH_MAX], name[FOLDER_NAME_MAX];
    if (port->shard.piece_count == 0) {
        answer(port, CUT_WRITTEN, NULL, NULL);
        return false;
    }
    folder_shard_file(port->id, name);
    if (!folder_draft_path(cut->folder, cut->asked.train_step, name, path)) {
        fail(port, "option --checkpoint-dir: the path is too long");
        return false;
    }
    if (stream_new(cut->writer, path, (struct stream_waker){wake, port->wake}, &cut->stream)) {
        fail(port, "out of memory for a file of the checkpoint");
        return false;
    }
    return true;
}

static const char *reason_of(dp_err e)
{
    switch (e) {
    case DP_DIVERGED:
        return "the parameters or the optimizer's state are not finite";
    case DP_RANGE:
        return "the shard has more parts than the head of a file may list; use more --shards";
    default:
        return "out of memory for a copy of the shard's state";
    }
}

/* Hands bytes to the writer; false: the cut is over. */
static bool put_chunks(struct port_state *port)
{
    struct port_cut *cut = &port->cut;
    for (bool more = true; more && stream_has_room(cut->stream);) {
        struct blob bytes = {0};
        dp_err e = cut_next(&port->shard, &bytes, &more);
        if (e) {
            fail(port, reason_of(e));
            return false;
        }
        const bool found = bytes.bytes > 0;
        if (found)
            stream_put(cut->stream, &bytes);
        if (!more) {
            stream_end(cut->stream, true);
            cut_drop(&port->shard);
        } else if (!found) {
            wake(port->wake); /* messages first */
            break;
        }
    }
    return true;
}

void port_cut_pump(struct port_state *port)
{
    struct port_cut *cut = &port->cut;
    struct stream_outcome outcome;
    if (!cut->on)
        return;
    if (!cut->stream && (!cut_is_ready(&port->shard) || !begin(port)))
        return;
    if (cut_is_ready(&port->shard) && !put_chunks(port))
        return;
    if (!stream_done(cut->stream, &outcome))
        return;
    const bool whole = outcome.err.code == DP_OK;
    answer(port, whole ? CUT_WRITTEN : CUT_FAILED, whole ? &outcome : NULL, whole ? NULL : outcome.err.text);
}

void port_cut_feed(struct port_state *port)
{
    if (port->cut.stream && stream_has_room(port->cut.stream))
        port_cut_pump(port);
}

/* ---- pages for copies ---- */

struct faults {
    struct writer_task task;
    struct keep_room *room;
    uint32_t arrays;
};

static void fault_in(struct writer_task *task)
{
    struct faults *faults = (struct faults *)task;
    keep_room_fault_in(faults->room, faults->arrays);
    keep_room_release(faults->room);
    free(faults);
}

void port_cut_make_room(struct port_state *port)
{
    struct keep_room *room = port->cut.writer && port->shard.job ? cut_room(&port->shard) : NULL;
    struct faults *faults = room ? mem_array_zero(1, sizeof *faults) : NULL;
    if (!faults)
        return; /* copies find their pages */
    *faults = (struct faults){.task.work = fault_in, .room = room, .arrays = cut_copies(&port->shard)};
    keep_room_retain(room);
    writer_do(port->cut.writer, &faults->task);
}

void port_cut(struct port_state *port, const struct command_cut *command)
{
    struct port_cut *cut = &port->cut;
    dp_error err;
    if (cut->on)
        fail(port, "it was given up");
    if (command->step == UINT64_MAX)
        return;
    cut->on = true;
    cut->asked = *command;
    if (!cut->folder || !cut->writer) {
        fail(port, "the server has no --checkpoint-dir");
        return;
    }
    dp_err e = cut_arm(&port->shard, command->step, command->train_step, &err);
    if (!e)
        port_cut_make_room(port);
    if (e)
        answer(port, e == DP_RANGE ? CUT_LATE : CUT_FAILED, NULL, err.text);
    else
        port_cut_pump(port);
}
