/* Settings of a running job that may change, at one step on all shards (step-stamped control). Thread: any. */
#ifndef DP_SERVER_LINK_SETTING_H
#define DP_SERVER_LINK_SETTING_H

#include <stdbool.h>
#include <stdint.h>

struct setting {
    enum setting_kind { SETTING_LR, SETTING_CONSISTENCY } kind;
    double lr;          /* LR */
    uint32_t staleness; /* CONSISTENCY: see server/step/consistency.h */
};

/* Whether a kind that came as a number is one of setting_kind. */
static inline bool setting_known(uint32_t kind)
{
    return kind <= SETTING_CONSISTENCY;
}

#endif
