/* Names of checkpoints; see name.h. Thread: any. */
#include "common/checkpoint/name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS = 12 };
static const char STEP[] = "step-";

void checkpoint_name(uint64_t train_step, char name[CHECKPOINT_NAME_MAX])
{
    snprintf(name, CHECKPOINT_NAME_MAX, "%s%0*" PRIu64, STEP, DIGITS, train_step);
}

bool checkpoint_name_parse(const char *name, uint64_t *ret_step)
{
    char again[CHECKPOINT_NAME_MAX];
    if (strncmp(name, STEP, sizeof STEP - 1) != 0)
        return false;
    errno = 0;
    uint64_t step = strtoull(name + sizeof STEP - 1, NULL, 10);
    checkpoint_name(step, again);
    if (errno || strcmp(again, name) != 0)
        return false;
    *ret_step = step;
    return true;
}
