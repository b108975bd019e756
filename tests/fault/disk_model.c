/* The model; see disk_model.h.
 *
 * Files and folders are inodes with numbers; number 0 is the folder of the log. A call becomes an event: a name of a
 * folder leads to an inode from now on (or to none), or bytes of an inode change. An fsync makes the events of its
 * inode safe that came before it. A state applies the events that are kept, in their order. */
#include "tests/fault/disk_model.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/util.h"
#include "tests/fault/disk_log.h"

enum { NAME_MAX_BYTES = 64, NONE = 0, PATH_BYTES = 4096 };

/* A name of a folder. */
struct place {
    uint32_t folder;
    char name[NAME_MAX_BYTES];
};

enum event_kind { LINK /* places[i] leads to inodes[i], NONE: to nothing */, WRITE, TRUNCATE };

struct event {
    enum event_kind kind;
    size_t call; /* number of it in the log, */
    size_t safe; /* and of the fsync that makes it safe; SIZE_MAX: none does */
    uint32_t place_count;
    struct place places[2];
    uint32_t inodes[2]; /* of WRITE and TRUNCATE: the first */
    uint64_t offset, bytes;
    const char *data; /* the log's */
};

struct link {
    struct place place;
    uint32_t inode;
};

struct disk_model {
    struct event *events;
    size_t count, calls;
    uint32_t inodes; /* numbers in use */
    bool *is_folder; /* [inodes] */
    struct link *live;
    size_t live_count;
};

static void *grow(void *list, size_t count, size_t size)
{
    list = realloc(list, (count + 1) * size);
    if (!list)
        abort();
    return list;
}

/* ---- names ---- */

static struct link *link_find(struct link *links, size_t count, const struct place *place)
{
    for (size_t i = 0; i < count; i++)
        if (links[i].place.folder == place->folder && strcmp(links[i].place.name, place->name) == 0)
            return &links[i];
    return NULL;
}

static void link_set(struct link **links, size_t *count, const struct place *place, uint32_t inode)
{
    struct link *link = link_find(*links, *count, place);
    if (link && inode == NONE) {
        *link = (*links)[--*count];
    } else if (link) {
        link->inode = inode;
    } else if (inode != NONE) {
        *links = grow(*links, *count, sizeof **links);
        (*links)[(*count)++] = (struct link){*place, inode};
    }
}

/* The folder and the last part of a path, as names are now. False: a folder of it is unknown. */
static bool resolve(const struct disk_model *model, const char *path, struct place *ret_place)
{
    struct place place = {0};
    for (;;) {
        size_t length = strcspn(path, "/");
        if (length >= sizeof place.name)
            return false;
        memcpy(place.name, path, length);
        place.name[length] = '\0';
        if (path[length] == '\0') {
            *ret_place = place;
            return true;
        }
        const struct link *link = link_find(model->live, model->live_count, &place);
        if (!link)
            return false;
        place.folder = link->inode;
        path += length + 1;
    }
}

/* NONE: unknown. The folder itself has no place, and the number 0: `ret` is whether it was found. */
static bool inode_of(const struct disk_model *model, const char *path, uint32_t *ret_inode)
{
    struct place place;
    *ret_inode = 0;
    if (path[0] == '\0')
        return true;
    const struct link *link = resolve(model, path, &place) ? link_find(model->live, model->live_count, &place) : NULL;
    *ret_inode = link ? link->inode : NONE;
    return link != NULL;
}

/* ---- events ---- */

static struct event *add_event(struct disk_model *model, enum event_kind kind, size_t call)
{
    model->events = grow(model->events, model->count, sizeof *model->events);
    struct event *event = &model->events[model->count++];
    *event = (struct event){.kind = kind, .call = call, .safe = SIZE_MAX};
    return event;
}

static void add_link(struct disk_model *model, struct event *event, const struct place *place, uint32_t inode)
{
    event->places[event->place_count] = *place;
    event->inodes[event->place_count++] = inode;
    link_set(&model->live, &model->live_count, place, inode);
}

static uint32_t add_inode(struct disk_model *model, bool is_folder)
{
    model->is_folder = grow(model->is_folder, model->inodes, sizeof *model->is_folder);
    model->is_folder[model->inodes] = is_folder;
    return model->inodes++;
}

static bool on_create(struct disk_model *model, const struct disk_op *op, size_t call)
{
    struct place place;
    uint32_t inode;
    if (!resolve(model, op->path, &place))
        return false;
    if (inode_of(model, op->path, &inode)) {
        if (op->record.truncates)
            add_event(model, TRUNCATE, call)->inodes[0] = inode;
        return true;
    }
    inode = add_inode(model, op->record.call == DISK_MKDIR);
    add_link(model, add_event(model, LINK, call), &place, inode);
    return true;
}

static bool on_write(struct disk_model *model, const struct disk_op *op, size_t call)
{
    uint32_t inode;
    if (!inode_of(model, op->path, &inode))
        return false;
    struct event *event = add_event(model, WRITE, call);
    event->inodes[0] = inode;
    event->offset = op->record.offset;
    event->bytes = op->record.data_bytes;
    event->data = op->data;
    return true;
}

/* Both names change at once, as rename(2) promises also for a crash. */
static bool on_rename(struct disk_model *model, const struct disk_op *op, size_t call)
{
    struct place from, to;
    uint32_t inode, other = NONE;
    if (!resolve(model, op->path, &from) || !resolve(model, op->other, &to) || !inode_of(model, op->path, &inode))
        return false;
    if (op->record.call == DISK_EXCHANGE && !inode_of(model, op->other, &other))
        return false;
    struct event *event = add_event(model, LINK, call);
    add_link(model, event, &from, other);
    add_link(model, event, &to, inode);
    return true;
}

static bool on_unlink(struct disk_model *model, const struct disk_op *op, size_t call)
{
    struct place place;
    if (!resolve(model, op->path, &place))
        return false;
    add_link(model, add_event(model, LINK, call), &place, NONE);
    return true;
}

static bool is_of(const struct event *event, uint32_t inode)
{
    if (event->kind != LINK)
        return event->inodes[0] == inode;
    for (uint32_t i = 0; i < event->place_count; i++)
        if (event->places[i].folder == inode)
            return true;
    return false;
}

static bool on_sync(struct disk_model *model, const struct disk_op *op, size_t call)
{
    uint32_t inode;
    if (!inode_of(model, op->path, &inode))
        return false;
    for (size_t i = 0; i < model->count; i++)
        if (model->events[i].safe == SIZE_MAX && is_of(&model->events[i], inode))
            model->events[i].safe = call;
    return true;
}

static bool on_call(struct disk_model *model, const struct disk_op *op, size_t call)
{
    switch ((enum disk_call)op->record.call) {
    case DISK_CREATE:
    case DISK_MKDIR:
        return (op->path[0] == '\0') || on_create(model, op, call); /* the folder itself is there */
    case DISK_WRITE:
        return on_write(model, op, call);
    case DISK_SYNC:
        return on_sync(model, op, call);
    case DISK_RENAME:
    case DISK_EXCHANGE:
        return on_rename(model, op, call);
    case DISK_UNLINK:
        return on_unlink(model, op, call);
    case DISK_CALLS:
        break;
    }
    return false;
}

static bool is_skipped(const char *path, const char *const *skip)
{
    for (; *skip; skip++)
        if (strcmp(path, *skip) == 0)
            return true;
    return false;
}

struct disk_model *disk_model_new(const struct disk_log *log, const char *const *skip)
{
    struct disk_model *model = calloc(1, sizeof *model);
    if (!model)
        abort();
    (void)add_inode(model, true);
    model->calls = log->count;
    for (size_t i = 0; model && i < log->count; i++)
        if (!log->ops[i].record.failed && !is_skipped(log->ops[i].path, skip) && !on_call(model, &log->ops[i], i))
            disk_model_free(&model);
    return model;
}

void disk_model_free(struct disk_model **model)
{
    if (!*model)
        return;
    free((*model)->events);
    free((*model)->is_folder);
    free((*model)->live);
    free(*model);
    *model = NULL;
}

/* ---- crashes ---- */

size_t disk_model_crashes(const struct disk_model *model)
{
    return model->calls + 1;
}

/* Crash `at`: the calls before number `at` were done. */
static bool is_pending(const struct event *event, size_t at)
{
    return event->call < at && event->safe >= at;
}

size_t disk_model_pending(const struct disk_model *model, size_t at)
{
    size_t count = 0;
    for (size_t i = 0; i < model->count; i++)
        count += is_pending(&model->events[i], at);
    return count;
}

struct content {
    char *data;
    uint64_t bytes;
};

struct disk_state {
    const struct disk_model *model;
    struct content *contents; /* [inodes] */
    struct link *links;
    size_t link_count;
};

static void content_write(struct content *content, const struct event *event, bool zeros)
{
    uint64_t end = event->offset + event->bytes;
    if (end > content->bytes) {
        content->data = grow(content->data, end, 1);
        memset(content->data + content->bytes, 0, end - content->bytes);
        content->bytes = end;
    }
    if (!zeros && event->bytes > 0)
        memcpy(content->data + event->offset, event->data, event->bytes);
}

static void apply(struct disk_state *state, const struct event *event, enum disk_fate fate)
{
    struct content *content = &state->contents[event->inodes[0]];
    if (fate == DISK_LOST)
        return;
    switch (event->kind) {
    case LINK:
        for (uint32_t i = 0; i < event->place_count; i++)
            link_set(&state->links, &state->link_count, &event->places[i], event->inodes[i]);
        break;
    case WRITE:
        content_write(content, event, fate == DISK_ZEROS);
        break;
    case TRUNCATE:
        content->bytes = 0;
        break;
    }
}

static int by_place(const void *a, const void *b)
{
    const struct link *x = a, *y = b;
    int by_name = strcmp(x->place.name, y->place.name);
    return x->place.folder != y->place.folder ? (x->place.folder < y->place.folder ? -1 : 1) : by_name;
}

struct disk_state *disk_state_new(const struct disk_model *model, size_t at, const uint8_t *fates)
{
    struct disk_state *state = calloc(1, sizeof *state);
    size_t pending = 0;
    if (!state || !(state->contents = calloc(model->inodes, sizeof *state->contents)))
        abort();
    state->model = model;
    for (size_t i = 0; i < model->count && model->events[i].call < at; i++)
        apply(state, &model->events[i],
              is_pending(&model->events[i], at) ? (enum disk_fate)fates[pending++] : DISK_KEPT);
    if (state->link_count > 0)
        qsort(state->links, state->link_count, sizeof *state->links, by_place);
    return state;
}

void disk_state_free(struct disk_state **state)
{
    if (!*state)
        return;
    for (uint32_t i = 0; i < (*state)->model->inodes; i++)
        free((*state)->contents[i].data);
    free((*state)->contents);
    free((*state)->links);
    free(*state);
    *state = NULL;
}

/* ---- as a folder ---- */

static void mix(uint64_t *digest, const void *data, size_t bytes)
{
    const unsigned char *at = data;
    for (size_t i = 0; i < bytes; i++)
        *digest = (*digest ^ at[i]) * 0x100000001b3; /* FNV-1a */
}

static void mix_folder(const struct disk_state *state, uint32_t folder, bool hidden, uint64_t *digest)
{
    for (size_t i = 0; i < state->link_count; i++) {
        const struct link *link = &state->links[i];
        if (link->place.folder != folder)
            continue;
        mix(digest, link->place.name, strlen(link->place.name) + 1);
        bool dotted = hidden || link->place.name[0] == '.';
        if (state->model->is_folder[link->inode])
            mix_folder(state, link->inode, dotted, digest);
        else if (!dotted)
            mix(digest, state->contents[link->inode].data, state->contents[link->inode].bytes);
        mix(digest, "/", 1);
    }
}

uint64_t disk_state_digest(const struct disk_state *state)
{
    uint64_t digest = 0xcbf29ce484222325;
    mix_folder(state, 0, false, &digest);
    return digest;
}

static bool write_file(const struct content *content, const char *path)
{
    FILE *file = fopen(path, "wxe");
    bool good = file && fwrite(content->data ? content->data : "", 1, content->bytes, file) == content->bytes;
    return file && fclose(file) == 0 && good;
}

static bool write_folder(const struct disk_state *state, uint32_t folder, const char *path)
{
    char inner[PATH_BYTES];
    bool good = mkdir(path, 0700) == 0;
    for (size_t i = 0; good && i < state->link_count; i++) {
        const struct link *link = &state->links[i];
        if (link->place.folder != folder)
            continue;
        (void)!snprintf(inner, sizeof inner, "%s/%s", path, link->place.name);
        good = state->model->is_folder[link->inode] ? write_folder(state, link->inode, inner)
                                                    : write_file(&state->contents[link->inode], inner);
    }
    return good;
}

bool disk_state_write(const struct disk_state *state, const char *path)
{
    return write_folder(state, 0, path);
}
