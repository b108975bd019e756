/* Manifests of checkpoints; see manifest.h. Thread: any. */
#include "common/checkpoint/manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/base/file.h"
#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/checkpoint/hex.h"

enum { HEX_MAX = 17, FILES_MAX = 4096, READ_BYTES = 1 << 20 };
static const size_t MANIFEST_BYTES_MAX = (size_t)64 << 20;
static const char *const KINDS[] = {[TENSOR_DENSE] = "dense", [TENSOR_TABLE] = "table", [TENSOR_HASHED] = "hashed"};
static const char FORMAT[] = "dp-checkpoint-1", SEAL[] = "  \"xxh3\": \"", END[] = "\"\n}\n";

/* ---- writing ---- */

static json_t *rate_pair(const void *list, size_t i)
{
    const struct schedule_change *change = (const struct schedule_change *)list + i;
    return json_pack("[I, f]", (json_int_t)change->from, change->lr);
}

static json_t *period_pair(const void *list, size_t i)
{
    const struct schedule_period *period = (const struct schedule_period *)list + i;
    return json_pack("[I, I]", (json_int_t)period->from, (json_int_t)period->period);
}

static json_t *consistency_pair(const void *list, size_t i)
{
    const struct consistency_change *change = (const struct consistency_change *)list + i;
    return json_pack("[I, I]", (json_int_t)change->from, (json_int_t)change->staleness);
}

static json_t *file_entry(const void *list, size_t i)
{
    const struct manifest_file *file = (const struct manifest_file *)list + i;
    return json_pack("{s:s, s:s, s:I, s:o}", "name", file->name, "member", file->member, "bytes",
                     (json_int_t)file->bytes, "xxh3", hex_number(file->digest));
}

static json_t *meta_json(const struct safetensors_meta *meta)
{
    json_t *json = json_object();
    for (size_t i = 0; json && i < meta->count; i++)
        if (json_object_set_new(json, meta->keys[i], json_string(meta->values[i]))) {
            json_decref(json);
            return NULL;
        }
    return json;
}

static json_t *length_json(const void *list, size_t i)
{
    return json_integer((json_int_t)((const uint64_t *)list)[i]);
}

static json_t *tensor_json(const void *list, size_t i)
{
    const struct tensor *t = (const struct tensor *)list + i;
    return json_pack("{s:s, s:s, s:o, s:i, s:o, s:b}", "name", t->name, "kind", KINDS[t->kind], "shape",
                     json_list(t->rank, length_json, t->shape), "init", (int)t->init, "init_arg",
                     hex_double((double)t->init_arg), "regularized", (int)t->regularized);
}

static json_t *to_json(const struct manifest *m)
{
    return json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:s, s:O, s:o, s:o, s:o, s:o*, s:o, s:O, s:o, s:o}", //
        "format", FORMAT, "dp_version", m->version, "written_at", m->written_at,                            //
        "generation", (json_int_t)m->generation, "step", (json_int_t)m->step,                               //
        "train_step", (json_int_t)m->train_step, "train_steps", (json_int_t)m->train_steps, "settings",
        (json_int_t)m->settings, "incarnation", hex_number(m->incarnation), "numerics", m->numerics, "spec", m->spec, //
        "model", meta_json(&m->model), "tensors", json_list(m->tensors.count, tensor_json, m->tensors.list),          //
        "rates", json_list(m->rates.count, rate_pair, m->rates.list),                                                 //
        "periods", m->periods.count ? json_list(m->periods.count, period_pair, m->periods.list) : NULL,               //
        "consistency", json_list(m->consistency.change_count, consistency_pair, m->consistency.changes), "sums",
        m->sums, "files", json_list(m->file_count, file_entry, m->files), //
        "join", hex_bytes(m->join, m->join_bytes));
}

/* The digest goes where the object's last brace was. */
static dp_err seal(char *body, char **ret_text, size_t *ret_bytes)
{
    size_t length = strlen(body), room = length + sizeof SEAL + sizeof END + HEX_MAX + 2, at = length - 2;
    char *text = mem_array(room, 1);
    if (!text)
        return DP_NOMEM;
    memcpy(text, body, at); /* without "\n}" */
    memcpy(text + at, ",\n", 2);
    at += 2;
    uint64_t digest = XXH3_64bits(text, at);
    (void)str_append(text, room, &at, "%s%016" PRIx64 "%s", SEAL, digest, END);
    *ret_text = text;
    *ret_bytes = at;
    return DP_OK;
}

dp_err manifest_write(const struct manifest *manifest, char **ret_text, size_t *ret_bytes)
{
    json_t *json = to_json(manifest);
    char *body = json ? json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(17)) : NULL;
    dp_err e = body ? seal(body, ret_text, ret_bytes) : DP_NOMEM;
    free(body);
    json_decref(json);
    return e;
}

/* ---- reading ---- */

static bool is_sealed(const char *text, size_t bytes)
{
    const size_t tail = sizeof SEAL - 1 + HEX_MAX - 1 + sizeof END - 1;
    char wanted[sizeof SEAL + HEX_MAX + sizeof END];
    if (bytes <= tail)
        return false;
    snprintf(wanted, sizeof wanted, "%s%016" PRIx64 "%s", SEAL, (uint64_t)XXH3_64bits(text, bytes - tail), END);
    return memcmp(text + bytes - tail, wanted, tail) == 0;
}

static bool read_rates(const json_t *json, struct schedule_past *rates)
{
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count > SCHEDULE_PAST_MAX)
        return false;
    rates->list = mem_array(count, sizeof *rates->list);
    for (size_t i = 0; rates->list && i < count; i++) {
        const json_t *pair = json_array_get(json, i), *lr = json_array_get(pair, 1);
        struct schedule_change *to = &rates->list[i];
        if (!json_read_count(json_array_get(pair, 0), INT64_MAX, &to->from) || !json_is_number(lr) ||
            !(json_number_value(lr) > 0) || (i > 0 && to->from <= to[-1].from))
            return false;
        to->lr = json_number_value(lr);
        rates->count = rates->room = i + 1;
    }
    return rates->list != NULL;
}

static bool read_periods(const json_t *json, struct schedule_periods *periods)
{
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count > SCHEDULE_PERIODS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(json, i);
        struct schedule_period *to = &periods->list[i];
        if (!json_read_count(json_array_get(pair, 0), INT64_MAX, &to->from) ||
            !json_read_count(json_array_get(pair, 1), INT64_MAX, &to->period) || to->period == 0 ||
            (i > 0 ? to->from <= to[-1].from : to->from > 0))
            return false;
        periods->count = (uint32_t)(i + 1);
    }
    return true;
}

static bool read_consistency(const json_t *json, struct consistency *consistency)
{
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count > CONSISTENCY_CHANGES_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        const json_t *pair = json_array_get(json, i);
        struct consistency_change *to = &consistency->changes[i];
        uint64_t staleness;
        if (!json_read_count(json_array_get(pair, 0), INT64_MAX, &to->from) ||
            !json_read_count(json_array_get(pair, 1), CONSISTENCY_STALENESS_MAX, &staleness) ||
            (i > 0 && to->from <= to[-1].from))
            return false;
        to->staleness = (uint32_t)staleness;
        consistency->change_count = (uint32_t)(i + 1);
    }
    return true;
}

/* Its path is made of the name. */
static bool is_plain_name(const char *name)
{
    return name && name[0] && name[0] != '.' && strlen(name) < MANIFEST_NAME_MAX && !strchr(name, '/') &&
           text_printable(name, strlen(name));
}

static bool read_file(const json_t *json, struct manifest_file *ret_file)
{
    const char *name = json_string_value(json_object_get(json, "name"));
    const char *member = json_string_value(json_object_get(json, "member"));
    if (!is_plain_name(name) || !member || strlen(member) >= MANIFEST_NAME_MAX)
        return false;
    (void)str_copy(ret_file->name, sizeof ret_file->name, name);
    (void)str_copy(ret_file->member, sizeof ret_file->member, member);
    return json_read_count(json_object_get(json, "bytes"), INT64_MAX, &ret_file->bytes) &&
           hex_read_number(json_object_get(json, "xxh3"), &ret_file->digest);
}

static bool read_files(const json_t *json, struct manifest *m)
{
    size_t count = json_array_size(json);
    if (!json_is_array(json) || count == 0 || count > FILES_MAX)
        return false;
    m->files = mem_array_zero(count, sizeof *m->files);
    for (; m->files && m->file_count < count; m->file_count++)
        if (!read_file(json_array_get(json, m->file_count), &m->files[m->file_count]))
            return false;
    return m->files != NULL;
}

static bool read_meta(const json_t *json, struct safetensors_meta *meta)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)json, key, value)
    {
        const char *text = json_string_value(value);
        if (!text || safetensors_meta_set(meta, key, "%s", text))
            return false;
    }
    return json_is_object(json);
}

static bool read_kind(const char *text, enum tensor_kind *ret_kind)
{
    for (size_t i = 0; text && i < ARRAY_LEN(KINDS); i++)
        if (strcmp(text, KINDS[i]) == 0) {
            *ret_kind = (enum tensor_kind)i;
            return true;
        }
    return false;
}

static bool read_tensor(const json_t *json, struct tensors *tensors)
{
    const json_t *lengths = json_object_get(json, "shape");
    const char *name = json_string_value(json_object_get(json, "name"));
    uint64_t shape[TENSOR_RANK_MAX] = {0}, init;
    const size_t rank = json_array_size(lengths);
    enum tensor_kind kind;
    double arg;
    dp_error err;
    if (!name || !json_is_array(lengths) || rank > TENSOR_RANK_MAX ||
        !read_kind(json_string_value(json_object_get(json, "kind")), &kind) ||
        !json_read_count(json_object_get(json, "init"), INIT_HE_UNIFORM, &init) ||
        !hex_read_double(json_object_get(json, "init_arg"), &arg) || !isfinite(arg) || fabs(arg) > FLT_MAX)
        return false;
    for (size_t d = 0; d < rank; d++)
        if (!json_read_count(json_array_get(lengths, d), INT64_MAX, &shape[d]))
            return false;
    const bool regularized = json_is_true(json_object_get(json, "regularized"));
    if (kind == TENSOR_DENSE)
        return tensors_add(tensors, name, (uint32_t)rank, shape, (enum tensor_init)init, (float)arg, regularized,
                           &err) == DP_OK;
    return tensors_add_table(tensors, name, kind, (uint32_t)rank, shape, (enum tensor_init)init, (float)arg,
                             regularized, &err) == DP_OK;
}

static bool read_tensors(const json_t *json, struct tensors *tensors)
{
    bool right = json_is_array(json);
    for (size_t i = 0; right && i < json_array_size(json); i++)
        right = read_tensor(json_array_get(json, i), tensors);
    return right;
}

static bool read_text(const json_t *json, char **ret_text)
{
    const char *text = json_string_value(json);
    *ret_text = text ? strdup(text) : NULL;
    return *ret_text != NULL;
}

static bool read_object(const json_t *json, json_t **ret_object)
{
    *ret_object = json_is_object(json) ? json_deep_copy(json) : NULL;
    return *ret_object != NULL;
}

/* The name of the first member that is missing or wrong; NULL: all are right. */
static const char *read_members(const json_t *json, struct manifest *m)
{
#define READ(name, call)                                \
    do {                                                \
        const json_t *of = json_object_get(json, name); \
        if (!(call))                                    \
            return name;                                \
    } while (0)
    READ("generation", json_read_count(of, INT64_MAX, &m->generation));
    READ("step", json_read_count(of, INT64_MAX, &m->step));
    READ("train_step", json_read_count(of, INT64_MAX, &m->train_step));
    READ("train_steps", json_read_count(of, INT64_MAX, &m->train_steps));
    READ("settings", json_read_count(of, INT64_MAX, &m->settings));
    READ("incarnation", hex_read_number(of, &m->incarnation));
    READ("written_at", read_text(of, &m->written_at));
    READ("dp_version", read_text(of, &m->version));
    READ("numerics", read_text(of, &m->numerics));
    READ("spec", read_object(of, &m->spec));
    READ("sums", read_object(of, &m->sums));
    READ("rates", read_rates(of, &m->rates));
    READ("periods", !of || read_periods(of, &m->periods));
    READ("consistency", read_consistency(of, &m->consistency));
    READ("join", hex_read_bytes(of, &m->join, &m->join_bytes));
    READ("files", read_files(of, m));
    READ("model", !of || read_meta(of, &m->model));
    READ("tensors", !of || read_tensors(of, &m->tensors));
#undef READ
    return NULL;
}

dp_err manifest_parse(const char *name, const char *text, size_t bytes, struct manifest *ret_manifest, dp_error *err)
{
    if (!is_sealed(text, bytes))
        return dp_fail(err, DP_DATA, "%.400s: is damaged: its bytes do not have its digest", name);
    json_t *json = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
    const char *format = json_string_value(json_object_get(json, "format"));
    struct manifest m = {0};
    dp_err e = DP_OK;
    if (!format || strcmp(format, FORMAT) != 0)
        e = dp_fail(err, DP_DATA, "%.400s: is no manifest that this version of dp reads (format '%.64s', not '%s')",
                    name, format ? format : "none", FORMAT);
    const char *wrong = e ? NULL : read_members(json, &m);
    if (wrong)
        e = dp_fail(err, DP_DATA, "%.400s: member '%s' is missing or wrong", name, wrong);
    json_decref(json);
    if (e)
        manifest_fini(&m);
    else
        *ret_manifest = m;
    return e;
}

static dp_err cannot_read(const char *path, const char *reason, dp_error *err)
{
    return dp_fail(err, DP_IO, "%.400s: cannot be read: %s", path, reason);
}

/* The fault is not the file's: another process, or the same later, may read it. */
static bool is_passing(int reason)
{
    return reason == EACCES || reason == EPERM || reason == EMFILE || reason == ENFILE || reason == ENOMEM ||
           reason == ESTALE;
}

/* A plain file, for reading: opening a pipe would wait for its writer. -1: it cannot be opened. */
static int open_file(const char *path, uint64_t *ret_bytes, dp_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        *ret_bytes = (uint64_t)st.st_size;
        return fd;
    }
    const int reason = fd < 0 ? errno : 0;
    (void)cannot_read(path, fd < 0 ? strerror(errno) : "it is no file", err);
    if (is_passing(reason))
        err->code = DP_SYSTEM;
    if (fd >= 0)
        close(fd);
    return -1;
}

dp_err manifest_read(const char *path, struct manifest *ret_manifest, dp_error *err)
{
    uint64_t bytes = 0;
    int fd = open_file(path, &bytes, err);
    if (fd < 0)
        return err->code;
    char *text = NULL;
    size_t length = 0;
    dp_err e = file_load(fd, path, MANIFEST_BYTES_MAX, &text, &length, err);
    close(fd);
    if (!e)
        e = manifest_parse(path, text, length, ret_manifest, err);
    free(text);
    return e;
}

void manifest_fini(struct manifest *manifest)
{
    free(manifest->written_at);
    free(manifest->version);
    free(manifest->numerics);
    free(manifest->join);
    free(manifest->files);
    free(manifest->rates.list);
    safetensors_meta_fini(&manifest->model);
    json_decref(manifest->spec);
    json_decref(manifest->sums);
    *manifest = (struct manifest){0};
}

/* ---- its files ---- */

static dp_err digest_of(int fd, const char *path, uint64_t *ret_digest, dp_error *err)
{
    XXH3_state_t *state = XXH3_createState();
    char *buffer = mem_array(READ_BYTES, 1);
    dp_err e = state && buffer ? DP_OK : dp_fail(err, DP_NOMEM, "out of memory to read %.400s", path);
    if (!e)
        (void)XXH3_64bits_reset(state);
    for (ssize_t n = 1; !e && n > 0;) {
        n = file_read_some(fd, buffer, READ_BYTES);
        if (n > 0)
            (void)XXH3_64bits_update(state, buffer, (size_t)n);
        else if (n < 0)
            e = cannot_read(path, strerror(errno), err);
    }
    if (!e)
        *ret_digest = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    free(buffer);
    return e;
}

static dp_err verify_file(const struct manifest_file *file, const char *path, dp_error *err)
{
    uint64_t bytes = 0, digest = 0;
    int fd = open_file(path, &bytes, err);
    if (fd < 0)
        return err->code;
    dp_err e = DP_OK;
    if (bytes != file->bytes)
        e = dp_fail(err, DP_DATA, "%.400s: is damaged: it has %" PRIu64 " bytes, its manifest says %" PRIu64, path,
                    bytes, file->bytes);
    if (!e)
        e = digest_of(fd, path, &digest, err);
    if (!e && digest != file->digest)
        e = dp_fail(err, DP_DATA, "%.400s: is damaged: its bytes do not have the digest of its manifest", path);
    close(fd);
    return e;
}

dp_err manifest_verify(const struct manifest *manifest, const char *folder, const char *member, dp_error *err)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < manifest->file_count; i++) {
        const struct manifest_file *file = &manifest->files[i];
        if (member && strcmp(file->member, member) != 0)
            continue;
        if (snprintf(path, sizeof path, "%s/%s", folder, file->name) >= (int)sizeof path)
            return dp_fail(err, DP_IO, "the path is too long: %.80s...", folder);
        dp_err e = verify_file(file, path, err);
        if (e)
            return e;
    }
    return DP_OK;
}
