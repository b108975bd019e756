/* Options of checkpoints; see checkpoint.h. Thread: head. */
#include "server/options/checkpoint.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"

static const double SECONDS_MAX = 365.0 * 86400;
static const double STEPS_MAX = 1e15;

/* "500" or "30s", also "0.5s". */
static dp_err parse_every(struct checkpoint_options *opts, dp_error *err)
{
    char *end = NULL;
    const char *text = opts->every;
    size_t digits = strspn(text, "0123456789."); /* and no exponent, nor a hexadecimal number */
    double number = digits > 0 && (text[digits] == '\0' || text[digits] == 's') ? strtod(text, &end) : NAN;
    bool seconds = end && strcmp(end, "s") == 0, steps = end && end[0] == '\0';
    if (!(number > 0) || !(seconds || steps) || number > (seconds ? SECONDS_MAX : STEPS_MAX) ||
        (steps && number != floor(number)))
        return dp_fail(err, DP_USAGE,
                       "option --checkpoint-every: '%.64s' is neither a number of training steps, such as 500, nor of "
                       "seconds, such as 60s",
                       text);
    opts->every_steps = steps ? (uint64_t)number : 0;
    opts->every_s = seconds ? number : 0;
    return DP_OK;
}

dp_err checkpoint_options_check(const struct options *options, struct checkpoint_options *opts, dp_error *err)
{
    static const char *const BELONG[] = {"checkpoint-every", "keep-checkpoints", "resume"};
    for (size_t i = 0; !opts->dir && i < ARRAY_LEN(BELONG); i++)
        if (options_source(options, BELONG[i]) != OPT_FROM_DEFAULT)
            return dp_fail(err, DP_USAGE, "option --%s belongs to --checkpoint-dir DIR, which is not given", BELONG[i]);
    if (opts->dir && !opts->dir[0])
        return dp_fail(err, DP_USAGE, "option --checkpoint-dir: '' is no folder; give a name");
    return opts->dir ? parse_every(opts, err) : DP_OK;
}
