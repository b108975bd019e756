/* Options of checkpoints: how they go together, and what they come to. Thread: head. */
#ifndef DP_SERVER_OPTIONS_CHECKPOINT_H
#define DP_SERVER_OPTIONS_CHECKPOINT_H

#include <float.h>
#include <stdint.h>

#include "common/options/table.h"

enum resume_mode { RESUME_AUTO, RESUME_REQUIRE, RESUME_NEVER };

struct checkpoint_options {
    const char *dir;   /* NULL: the job has no checkpoints */
    const char *every; /* training steps, or seconds with an s */
    uint64_t keep;
    int resume;           /* enum resume_mode */
    uint64_t every_steps; /* not in the table: what `every` says, 0 where it is of seconds, */
    double every_s;       /* likewise, 0 where it is of steps */
};

#define CHECKPOINT_OPTION_ROWS(type, field)                                                                          \
    {"checkpoints",                                                                                                  \
     "checkpoint-dir",                                                                                               \
     OPT_STRING,                                                                                                     \
     offsetof(type, field.dir),                                                                                      \
     "DIR",                                                                                                          \
     0,                                                                                                              \
     0,                                                                                                              \
     NULL,                                                                                                           \
     NULL,                                                                                                           \
     NULL,                                                                                                           \
     "folder of the job's checkpoints: a server that is started again with it goes on from the latest; SIGTERM and " \
     "the end of the job make one more"},                                                                            \
        {"checkpoints",                                                                                              \
         "checkpoint-every",                                                                                         \
         OPT_STRING,                                                                                                 \
         offsetof(type, field.every),                                                                                \
         "N|Ns",                                                                                                     \
         0,                                                                                                          \
         0,                                                                                                          \
         "60s",                                                                                                      \
         NULL,                                                                                                       \
         NULL,                                                                                                       \
         "training steps, or seconds, between two checkpoints"},                                                     \
        {"checkpoints",                                                                                              \
         "keep-checkpoints",                                                                                         \
         OPT_U64,                                                                                                    \
         offsetof(type, field.keep),                                                                                 \
         "N",                                                                                                        \
         1,                                                                                                          \
         1e6,                                                                                                        \
         "3",                                                                                                        \
         NULL,                                                                                                       \
         NULL,                                                                                                       \
         "checkpoints that are kept; older ones are removed"},                                                       \
    {                                                                                                                \
        "checkpoints", "resume", OPT_CHOICE, offsetof(type, field.resume), "WHEN", 0, 0, "auto", NULL,               \
            "auto|require|never",                                                                                    \
            "auto: goes on from the newest whole checkpoint, and begins where there is none; require: ends where "   \
            "there is none; never: begins anew"                                                                      \
    }

/* DP_USAGE naming the option. */
DP_MUST_CHECK dp_err checkpoint_options_check(const struct options *options, struct checkpoint_options *opts,
                                              dp_error *err);

#endif
