/* Sources of the values of options: defaults, then the file, then the environment, then the command line, each over the
 * one before. The command line is scanned first, since it may name the file or ask for help. Every source is checked as
 * a whole, also what a higher one overrides. Thread: any. */
#include "common/options/options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"
#include "common/options/args.h"
#include "common/options/fields.h"
#include "common/options/flat_yaml.h"
#include "common/options/help.h"
#include "common/options/names.h"
#include "common/options/nearest.h"
#include "common/options/value.h"

enum { CONFIG_BYTES_MAX = 1 << 20 };

static bool topic_known(const struct option_table *table, const char *topic)
{
    struct topic_line line;
    for (const char *at = table->topics; topic_next(&at, &line);)
        if (topic_is(&line, topic))
            return true;
    return false;
}

/* --- defaults --- */

/* A table is ours, so a mistake in it is a bug. */
static void table_check(const struct option_table *table)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option *option = &table->list[i];
        assert(strlen(option->name) + sizeof "DP_" <= OPTION_NAME_MAX);
        assert(option_find(table, option->name, strlen(option->name)) == (int)i);
        assert(option->help && (option->type != OPT_CHOICE || option->choices));
        assert(!table->topics || (option->topic && topic_known(table, option->topic)));
    }
}

static dp_err options_begin(struct options *opts, const struct option_table *table, void *fields, dp_error *err)
{
    table_check(table);
    *opts = (struct options){.table = table, .fields = fields};
    opts->sources = options_memory(opts, (table->count + 1) * sizeof *opts->sources);
    if (!opts->sources)
        return dp_fail(err, DP_NOMEM, "out of memory while reading options");
    for (size_t i = 0; i < table->count; i++) {
        opts->sources[i] = OPT_FROM_DEFAULT;
        option_clear(opts, i);
        if (!table->list[i].dflt)
            continue;
        char where[OPTION_WHERE_MAX];
        snprintf(where, sizeof where, "default of --%s", table->list[i].name);
        dp_err e = option_set(opts, i, table->list[i].dflt, OPT_FROM_DEFAULT, where, err);
        if (e)
            return e;
    }
    return DP_OK;
}

/* --- the file --- */

struct file_sink {
    struct options *opts;
    const char *name;
    size_t i; /* option of the key before */
};

static dp_err file_key(void *arg, const char *key, bool sequence, size_t line, dp_error *err)
{
    struct file_sink *sink = arg;
    struct options *opts = sink->opts;
    char where[OPTION_WHERE_MAX];
    snprintf(where, sizeof where, "%.200s:%zu: ", sink->name, line);
    int i = option_find(opts->table, key, strlen(key));
    if (i < 0)
        return option_fail_unknown(opts->table, where, key, "", err);
    if (strcmp(key, "config") == 0)
        return dp_fail(err, DP_USAGE, "%sa file cannot name another one with 'config'", where);
    if (opts->sources[i] == OPT_FROM_FILE)
        return dp_fail(err, DP_USAGE, "%s'%s' is given twice", where, key);
    bool list = opts->table->list[i].type == OPT_LIST;
    if (sequence && !list)
        return dp_fail(err, DP_USAGE, "%s'%s' takes one value, not a list", where, key);
    if (list)
        option_clear(opts, (size_t)i);
    opts->sources[i] = OPT_FROM_FILE;
    sink->i = (size_t)i;
    return DP_OK;
}

static dp_err file_value(void *arg, const char *value, size_t line, dp_error *err)
{
    struct file_sink *sink = arg;
    char where[OPTION_WHERE_MAX];
    snprintf(where, sizeof where, "%.200s:%zu: %s", sink->name, line, sink->opts->table->list[sink->i].name);
    return option_set(sink->opts, sink->i, value, OPT_FROM_FILE, where, err);
}

static dp_err apply_text(struct options *opts, const char *name, const void *text, size_t bytes, dp_error *err)
{
    struct file_sink sink = {.opts = opts, .name = name};
    return options_yaml_read(name, text, bytes, &(struct yaml_sink){file_key, file_value, &sink}, err);
}

/* Reads until the end or until text[size] is full; -1 with errno. */
static ssize_t read_whole(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    size_t at = 0;
    ssize_t n = 1;
    while (at < size && n != 0) {
        n = read(fd, text + at, size - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        at += (size_t)n;
    }
    int saved_errno = errno;
    close(fd);
    errno = saved_errno;
    return n < 0 ? -1 : (ssize_t)at;
}

static dp_err apply_file(struct options *opts, const char *path, const char *where, dp_error *err)
{
    AUTOFREE char *text = mem_array(CONFIG_BYTES_MAX + 1, 1);
    if (!text)
        return dp_fail(err, DP_NOMEM, "out of memory while reading options");
    ssize_t bytes = read_whole(path, text, CONFIG_BYTES_MAX + 1);
    if (bytes < 0)
        return dp_fail(err, DP_USAGE, "%s: cannot read '%.200s': %s", where, path, strerror(errno));
    if (bytes > CONFIG_BYTES_MAX)
        return dp_fail(err, DP_USAGE, "%s: '%.200s' is larger than 1 MiB, so it is no option file", where, path);
    return apply_text(opts, path, text, (size_t)bytes, err);
}

/* --- the environment --- */

/* DP_ and the name in upper case with _ for -. */
static void env_name(const char *name, char buf[OPTION_NAME_MAX])
{
    size_t at = 0;
    str_append(buf, OPTION_NAME_MAX, &at, "DP_%s", name);
    for (char *c = buf; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

/* The variable's value; NULL if it is unset or empty, which `VAR=${VAR:-}` of deployment files makes of unset. */
static const char *env_value(const char *name, char variable[OPTION_NAME_MAX])
{
    env_name(name, variable);
    const char *value = getenv(variable);
    return value && value[0] ? value : NULL;
}

static dp_err apply_env(struct options *opts, dp_error *err)
{
    for (size_t i = 0; i < opts->table->count; i++) {
        char variable[OPTION_NAME_MAX], where[OPTION_WHERE_MAX];
        const char *value = env_value(opts->table->list[i].name, variable);
        if (!value)
            continue;
        snprintf(where, sizeof where, "environment %s", variable);
        dp_err e = option_set(opts, i, value, OPT_FROM_ENV, where, err);
        if (e)
            return e;
    }
    return DP_OK;
}

/* Whether the variable is an option of any program, since those that share an environment have variables of each; else
 * the nearest one goes to *nearest. */
static bool env_known(const char *variable, struct nearest *nearest)
{
    static const size_t PREFIX = sizeof "DP_" - 1;
    char name[OPTION_NAME_MAX];
    *nearest = (struct nearest){.want = variable + PREFIX};
    for (size_t i = 0; i < ARRAY_LEN(OPTIONS_NAMES); i++) {
        env_name(OPTIONS_NAMES[i], name);
        if (strcmp(name, variable) == 0)
            return true;
        nearest_offer(nearest, name + PREFIX, strlen(name + PREFIX));
    }
    return false;
}

void options_env_check(const struct option_table *table, FILE *out)
{
    for (char **at = environ; at && *at; at++) {
        char variable[OPTION_NAME_MAX], hint[128], buf[OPTION_SHOWN_MAX];
        struct nearest nearest;
        size_t bytes = strcspn(*at, "=");
        if (strncmp(*at, "DP_", 3) != 0 || !(*at)[bytes] || !(*at)[bytes + 1])
            continue;
        snprintf(variable, sizeof variable, "%.*s", (int)MIN(bytes, sizeof variable - 1), *at);
        if (env_known(variable, &nearest))
            continue;
        nearest_hint(&nearest, "DP_", hint, sizeof hint);
        fprintf(out, "%s: environment %s: no option has this name, it is ignored%s\n", table->program,
                option_shown(variable, buf), hint);
    }
}

/* --- the command line --- */

static dp_err apply_args(struct options *opts, const struct arg_scan *scan, dp_error *err)
{
    for (size_t h = 0; h < scan->hit_count; h++) {
        char where[OPTION_WHERE_MAX];
        snprintf(where, sizeof where, "option --%s", opts->table->list[scan->hits[h].i].name);
        dp_err e = option_set(opts, scan->hits[h].i, scan->hits[h].value, OPT_FROM_ARGS, where, err);
        if (e)
            return e;
    }
    return DP_OK;
}

/* --- together --- */

/* Half of a text must not pass for all of it. */
static dp_err output_check(dp_error *err)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return DP_OK;
    return dp_fail(err, DP_IO, "cannot write to stdout: %s", strerror(errno));
}

static dp_err print_help(const struct option_table *table, const char *topic, dp_error *err)
{
    if (options_help(table, topic, stdout))
        return output_check(err);
    char hint[128];
    struct nearest nearest = {.want = topic};
    struct topic_line line;
    for (const char *at = table->topics; topic_next(&at, &line);)
        nearest_offer(&nearest, line.name, (size_t)line.name_bytes);
    for (size_t i = 0; i < table->page_count; i++)
        nearest_offer(&nearest, table->pages[i].topic, strlen(table->pages[i].topic));
    for (size_t i = 0; i < table->count; i++)
        nearest_offer(&nearest, table->list[i].name, strlen(table->list[i].name));
    nearest_hint(&nearest, "", hint, sizeof hint);
    return dp_fail(err, DP_USAGE, "option --help: there is no %s '%.64s'%s", table->topics ? "topic" : "option", topic,
                   hint[0] ? hint : "; --help alone lists them");
}

/* The file that the command line, else the environment, else the default names. */
static dp_err apply_config(struct options *opts, const struct arg_scan *scan, dp_error *err)
{
    int i = option_find(opts->table, "config", strlen("config"));
    if (i < 0 || opts->table->list[i].type != OPT_STRING)
        return DP_OK;
    char variable[OPTION_NAME_MAX], where[OPTION_WHERE_MAX] = "default of --config";
    const char *path = opts->table->list[i].dflt;
    const char *value = env_value("config", variable);
    if (value) {
        path = value;
        snprintf(where, sizeof where, "environment %s", variable);
    }
    for (size_t h = 0; h < scan->hit_count; h++) {
        if (scan->hits[h].i == (size_t)i) {
            path = scan->hits[h].value;
            snprintf(where, sizeof where, "option --config");
        }
    }
    return path ? apply_file(opts, path, where, err) : DP_OK;
}

static dp_err parse_into(struct options *opts, struct arg_scan *scan, enum option_outcome *outcome, dp_error *err)
{
    dp_err e = options_scan(scan, err);
    if (e)
        return e;
    if (scan->help) {
        *outcome = OPT_HELP;
        return print_help(opts->table, scan->help_topic, err);
    }
    if (scan->version) {
        *outcome = OPT_VERSION;
        printf("%s %s\n", opts->table->program, DP_VERSION_TEXT);
        return output_check(err);
    }
    *outcome = OPT_RUN;
    e = apply_config(opts, scan, err);
    if (!e)
        e = apply_env(opts, err);
    return e ? e : apply_args(opts, scan, err);
}

dp_err options_parse(struct options *opts, const struct option_table *table, void *fields, int argc, char **argv,
                     enum option_outcome *ret_outcome, dp_error *err)
{
    dp_err e = options_begin(opts, table, fields, err);
    enum option_outcome outcome = OPT_RUN;
    struct arg_scan scan = {.opts = opts, .argc = argc, .argv = argv, .at = 1};
    if (!e)
        e = parse_into(opts, &scan, &outcome, err);
    if (e)
        options_fini(opts);
    else
        *ret_outcome = outcome;
    return e;
}

dp_err options_parse_text(struct options *opts, const struct option_table *table, void *fields, const char *name,
                          const void *text, size_t bytes, dp_error *err)
{
    dp_err e = options_begin(opts, table, fields, err);
    if (!e)
        e = apply_text(opts, name, text, bytes, err);
    if (e)
        options_fini(opts);
    return e;
}
