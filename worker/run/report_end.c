/* The last object of --json; see report_end.h. */
#include "worker/run/report_end.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* JSON is UTF-8, which a file's name need not be. */
static json_t *text_json(const char *text)
{
    json_t *whole = json_string(text);
    char *clean = whole ? NULL : strdup(text);
    for (char *c = clean; c && *c; c++)
        *c = (unsigned char)*c < 0x80 ? *c : '?';
    if (clean)
        whole = json_string(clean);
    free(clean);
    return whole ? whole : json_null();
}

static void print(FILE *out, json_t *object)
{
    if (object) {
        json_dumpf(object, out, JSON_COMPACT);
        fputc('\n', out);
        fflush(out);
    }
    json_decref(object);
}

void report_end(FILE *out, const dp_error *err, int stopped, int exit_code, const struct report_totals *totals)
{
    const char *event = stopped || err->code == DP_STOPPED ? "stopped"
                        : err->code == DP_DIVERGED         ? "diverged"
                                                           : "failed";
    char reason[64];
    snprintf(reason, sizeof reason, "stopped by SIG%s", stopped ? sigabbrev_np(stopped) : "TERM");
    print(out, json_pack("{s:s, s:I, s:I, s:I, s:o, s:i}", "event", event, "steps", (json_int_t)totals->steps, "slots",
                         (json_int_t)totals->slots, "samples", (json_int_t)totals->samples, "reason",
                         text_json(stopped ? reason : err->text), "exit_code", exit_code));
}

void report_end_done(FILE *out)
{
    print(out, json_pack("{s:s, s:n, s:i}", "event", "done", "reason", "exit_code", 0));
}
