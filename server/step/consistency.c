/* Consistency of steps; see consistency.h. Thread: any. */
#include "server/step/consistency.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"

dp_err consistency_parse(const char *text, uint32_t *ret_staleness, dp_error *err)
{
    static const char SSP[] = "ssp:";
    const char *number = text + strlen(SSP);
    char *end;
    if (strcmp(text, "bsp") == 0) {
        *ret_staleness = 0;
        return DP_OK;
    }
    if (strcmp(text, "async") == 0) {
        *ret_staleness = CONSISTENCY_STALENESS_MAX;
        return DP_OK;
    }
    if (strncmp(text, SSP, strlen(SSP)) != 0 || !isdigit((unsigned char)*number))
        return dp_fail(err, DP_USAGE, "'%.64s' is not one of bsp, ssp:S (such as ssp:3), async", text);
    unsigned long staleness = strtoul(number, &end, 10);
    if (*end || staleness > CONSISTENCY_STALENESS_MAX)
        return dp_fail(err, DP_USAGE, "'%.64s': S is a number of steps, 0 to %d", text, CONSISTENCY_STALENESS_MAX);
    *ret_staleness = (uint32_t)staleness;
    return DP_OK;
}

void consistency_text(uint32_t staleness, char text[CONSISTENCY_TEXT_MAX])
{
    if (staleness == CONSISTENCY_STALENESS_MAX)
        snprintf(text, CONSISTENCY_TEXT_MAX, "async");
    else if (staleness > 0)
        snprintf(text, CONSISTENCY_TEXT_MAX, "ssp:%u", staleness);
    else
        snprintf(text, CONSISTENCY_TEXT_MAX, "bsp");
}

uint32_t consistency_at(const struct consistency *c, uint64_t step)
{
    uint32_t staleness = 0;
    for (uint32_t i = 0; i < c->change_count && c->changes[i].from <= step; i++)
        staleness = c->changes[i].staleness;
    return staleness;
}

uint32_t consistency_most(const struct consistency *c, uint64_t step)
{
    uint32_t most = consistency_at(c, step);
    for (uint32_t i = 0; i < c->change_count; i++)
        if (c->changes[i].from > step)
            most = MAX(most, c->changes[i].staleness);
    return most;
}

bool consistency_set(struct consistency *c, uint64_t from, uint32_t staleness)
{
    while (c->change_count && c->changes[c->change_count - 1].from >= from)
        c->change_count--;
    if (c->change_count == CONSISTENCY_CHANGES_MAX)
        return false;
    c->changes[c->change_count++] = (struct consistency_change){from, staleness};
    return true;
}

/* The first that stays is the one in force at `oldest`; it may as well hold from the start. */
void consistency_forget(struct consistency *c, uint64_t oldest)
{
    uint32_t gone = 0;
    while (gone + 1 < c->change_count && c->changes[gone + 1].from <= oldest)
        gone++;
    if (gone == 0)
        return;
    c->change_count -= gone;
    memmove(c->changes, c->changes + gone, c->change_count * sizeof c->changes[0]);
    c->changes[0].from = 0;
}
