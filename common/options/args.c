/* The command line: which options were given with which texts, and the operands. Values are not looked at here, since
 * the file and the environment come before them. Thread: any. */
#include "common/options/args.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/base/util.h"
#include "common/options/nearest.h"

/* True for "-5", "-.5": no option's name begins so. */
static bool is_negative_number(const char *arg)
{
    return arg[0] == '-' && (isdigit((unsigned char)arg[1]) || arg[1] == '.');
}

static bool is_option(const char *arg)
{
    return arg[0] == '-' && arg[1] != '\0' && !is_negative_number(arg);
}

/* The next argument as the value of an option, or NULL if there is none or it is an option. */
static const char *scan_value(struct arg_scan *scan)
{
    if (scan->at >= scan->argc || strncmp(scan->argv[scan->at], "--", 2) == 0)
        return NULL;
    return scan->argv[scan->at++];
}

static dp_err fail_no_value(const struct arg_scan *scan, const struct option *option, dp_error *err)
{
    const char *arg = option->arg ? option->arg : option->choices ? option->choices : "on|off";
    if (scan->at < scan->argc)
        return dp_fail(err, DP_USAGE, "option --%s: needs a value (%s), but '%.80s' follows", option->name, arg,
                       scan->argv[scan->at]);
    return dp_fail(err, DP_USAGE, "option --%s: needs a value (%s)", option->name, arg);
}

/* Only lists can be given again: of two values of another option one would be dropped in silence. */
static dp_err check_once(const struct arg_scan *scan, size_t i, const char *value, dp_error *err)
{
    const struct option *option = &scan->opts->table->list[i];
    char one[OPTION_SHOWN_MAX], other[OPTION_SHOWN_MAX];
    for (size_t h = 0; h < scan->hit_count && option->type != OPT_LIST; h++)
        if (scan->hits[h].i == i)
            return dp_fail(err, DP_USAGE, "option --%s: is given twice, as '%s' and as '%s'; give it once",
                           option->name, option_shown(scan->hits[h].value, one), option_shown(value, other));
    return DP_OK;
}

/* "--name", "--name=value" or "--name value"; `name` is behind the dashes. */
static dp_err scan_named(struct arg_scan *scan, const char *name, dp_error *err)
{
    size_t bytes = strcspn(name, "=");
    const char *value = name[bytes] ? name + bytes + 1 : NULL;
    char cut[OPTION_NAME_MAX];
    snprintf(cut, sizeof cut, "%.*s", (int)MIN(bytes, sizeof cut - 1), name);
    if (strcmp(cut, "help") == 0) {
        scan->help = true;
        scan->help_topic = value ? value : scan_value(scan);
        return DP_OK;
    }
    if (strcmp(cut, "version") == 0 && !value) {
        scan->version = true;
        return DP_OK;
    }
    int i = option_find(scan->opts->table, name, bytes);
    if (i < 0)
        return option_fail_unknown(scan->opts->table, "", cut, "--", err);
    const struct option *option = &scan->opts->table->list[i];
    if (!value)
        value = option->type == OPT_FLAG ? "on" : scan_value(scan);
    if (!value)
        return fail_no_value(scan, option, err);
    if (check_once(scan, (size_t)i, value, err))
        return DP_USAGE;
    scan->hits[scan->hit_count++] = (struct arg_hit){(size_t)i, value};
    return DP_OK;
}

/* The option whose value the argument before the last one read is, as in "--data part-*.csv" where a shell has put
 * several files; NULL if it is none's. */
static const struct option *option_before(const struct arg_scan *scan)
{
    const char *arg = scan->at >= 3 ? scan->argv[scan->at - 3] : "";
    int i = strncmp(arg, "--", 2) == 0 ? option_find(scan->opts->table, arg + 2, strlen(arg + 2)) : -1;
    return i < 0 || scan->opts->table->list[i].type == OPT_FLAG ? NULL : &scan->opts->table->list[i];
}

static dp_err scan_operand(struct arg_scan *scan, char *arg, dp_error *err)
{
    struct options *opts = scan->opts;
    const struct option *before = option_before(scan);
    if (opts->operand_count < opts->table->operands_max) {
        opts->operands[opts->operand_count++] = arg;
        return DP_OK;
    }
    int i = option_find(opts->table, arg, strlen(arg));
    if (i < 0 && before)
        return dp_fail(err, DP_USAGE, "unexpected argument '%.80s': --%s takes one value, which is '%.80s'", arg,
                       before->name, scan->argv[scan->at - 2]);
    return dp_fail(err, DP_USAGE, "unexpected argument '%.80s'%s%s%s", arg, i < 0 ? "" : "; did you mean '--",
                   i < 0 ? "" : arg, i < 0 ? "" : "'?");
}

/* One argument, or an option and its value. *only_operands is set behind "--". */
static dp_err scan_next(struct arg_scan *scan, bool *only_operands, dp_error *err)
{
    char *arg = scan->argv[scan->at++];
    if (*only_operands || !is_option(arg))
        return scan_operand(scan, arg, err);
    if (strcmp(arg, "--") == 0) {
        *only_operands = true;
        return DP_OK;
    }
    if (strncmp(arg, "--", 2) == 0)
        return scan_named(scan, arg + 2, err);
    if (strcmp(arg, "-h") == 0)
        return scan_named(scan, "help", err);
    if (strcmp(arg, "-v") == 0 && option_find(scan->opts->table, "verbose", strlen("verbose")) >= 0)
        return scan_named(scan, "verbose", err);
    return dp_fail(err, DP_USAGE, "unknown option '%.64s': options are written --name; see %s --help", arg,
                   scan->opts->table->program);
}

dp_err options_scan(struct arg_scan *scan, dp_error *err)
{
    size_t room = (size_t)MAX(scan->argc, 0) + 1;
    scan->hits = options_memory(scan->opts, room * sizeof *scan->hits);
    scan->opts->operands = options_memory(scan->opts, room * sizeof *scan->opts->operands);
    if (!scan->hits || !scan->opts->operands)
        return dp_fail(err, DP_NOMEM, "out of memory while reading options");
    dp_err first = DP_OK;
    bool only_operands = false;
    while (scan->at < scan->argc) {
        dp_err e = scan_next(scan, &only_operands, first ? NULL : err);
        first = first ? first : e;
    }
    scan->opts->operands[scan->opts->operand_count] = NULL;
    return scan->help || scan->version ? DP_OK : first;
}
