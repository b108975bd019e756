/* Words as errors show them; see nearest.h. Thread: any. */
#include "common/options/nearest.h"

#include <stdio.h>
#include <string.h>

#include "common/base/text.h"
#include "common/base/util.h"

const char *option_shown(const char *text, char buf[OPTION_SHOWN_MAX])
{
    if (!str_copy(buf, OPTION_SHOWN_MAX, text))
        memset(buf + OPTION_SHOWN_MAX - 4, '.', 3);
    for (char *at = buf; *at; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            *at = '?';
    return buf;
}

/* Edits (insert, delete, replace, swap neighbours) from a to b: optimal string alignment. Both shorter than
 * OPTION_NAME_MAX. */
static size_t edit_distance(const char *a, size_t na, const char *b, size_t nb)
{
    size_t rows[3][OPTION_NAME_MAX + 1];
    for (size_t j = 0; j <= nb; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t *row = rows[i % 3];
        const size_t *up = rows[(i + 2) % 3], *upup = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = MIN(up[j], row[j - 1]) + 1;
            best = MIN(best, up[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = MIN(best, upup[j - 2] + 1);
            row[j] = best;
        }
    }
    return rows[na % 3][nb];
}

void nearest_offer(struct nearest *nearest, const char *word, size_t bytes)
{
    size_t want_bytes = strlen(nearest->want);
    if (bytes >= OPTION_NAME_MAX || want_bytes >= OPTION_NAME_MAX || want_bytes < 2)
        return;
    /* A beginning of the word is as near as one wrong letter. */
    bool prefix = want_bytes >= 3 && want_bytes < bytes && memcmp(word, nearest->want, want_bytes) == 0;
    size_t distance = prefix ? 1 : edit_distance(nearest->want, want_bytes, word, bytes);
    if (distance > MAX(want_bytes / 3, (size_t)1) || (nearest->distance && distance + 1 >= nearest->distance))
        return;
    nearest->distance = distance + 1;
    memcpy(nearest->word, word, bytes);
    nearest->word[bytes] = '\0';
}

void nearest_hint(const struct nearest *nearest, const char *dashes, char *buf, size_t size)
{
    if (nearest->distance)
        snprintf(buf, size, "; did you mean '%s%s'?", dashes, nearest->word);
    else
        buf[0] = '\0';
}

void nearest_offer_choices(struct nearest *nearest, const char *choices)
{
    for (const char *at = choices;;) {
        size_t n = strcspn(at, "|");
        nearest_offer(nearest, at, n);
        if (at[n] == '\0')
            return;
        at += n + 1;
    }
}

/* Names that other programs have for options of ours. */
static const char *synonym_of(const struct option_table *table, const char *name)
{
    static const char *const SYNONYMS[][2] = {
        {"learning-rate", "lr"},  {"batch-size", "batch"},
        {"minibatch", "batch"},   {"weight-decay", "l2"},
        {"lambda", "l2"},         {"max-iter", "steps"},
        {"iterations", "steps"},  {"max-steps", "steps"},
        {"num-epochs", "epochs"}, {"workers", "local-workers"},
        {"random-state", "seed"}, {"random-seed", "seed"},
        {"loss", "model"},        {"address", "listen"},
        {"bind", "listen"},       {"train", "data"},
        {"validation", "eval"},   {"test", "eval"},
        {"save", "export"},       {"silent", "quiet"},
    };
    for (size_t i = 0; i < ARRAY_LEN(SYNONYMS); i++)
        if (strcmp(name, SYNONYMS[i][0]) == 0 && option_find(table, SYNONYMS[i][1], strlen(SYNONYMS[i][1])) >= 0)
            return SYNONYMS[i][1];
    return NULL;
}

dp_err option_fail_unknown(const struct option_table *table, const char *where, const char *name, const char *dashes,
                           dp_error *err)
{
    char hint[128], buf[OPTION_SHOWN_MAX];
    struct nearest nearest = {.want = name};
    for (size_t i = 0; i < table->count; i++)
        nearest_offer(&nearest, table->list[i].name, strlen(table->list[i].name));
    if (dashes[0]) { /* these are not for the file */
        nearest_offer(&nearest, "help", 4);
        nearest_offer(&nearest, "version", 7);
    }
    nearest_hint(&nearest, dashes, hint, sizeof hint);
    const char *synonym = synonym_of(table, name);
    if (synonym)
        snprintf(hint, sizeof hint, "; did you mean '%s%.64s'?", dashes, synonym);
    if (hint[0] == '\0')
        snprintf(hint, sizeof hint, "; see %.64s --help", table->program);
    return dp_fail(err, DP_USAGE, "%sunknown option '%s%s'%s", where, dashes, option_shown(name, buf), hint);
}
