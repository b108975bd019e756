/* The checkpoint at a path, without a lock: a folder DIR/step-000000001234, or DIR, of which the newest whole one is
 * taken. Thread: any. */
#ifndef DP_COMMON_CHECKPOINT_CHOOSE_H
#define DP_COMMON_CHECKPOINT_CHOOSE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/checkpoint/manifest.h"

/* Told of a checkpoint that is not used, since it is damaged. */
struct checkpoint_damage {
    void (*tell)(void *arg, const dp_error *err); /* may be NULL */
    void *arg;
};

struct checkpoint_chosen {
    char path[PATH_MAX]; /* of its folder */
    struct manifest manifest;
};

/* The checkpoint in a folder, whose bytes are taken for whole: they were verified before. */
DP_MUST_CHECK dp_err checkpoint_trust(const char *folder, struct checkpoint_chosen *ret_chosen, dp_error *err);
/* Whether the path is a folder, as no model is. */
bool checkpoint_is_folder(const char *path);
/* Reads all bytes of the checkpoint and holds them against its manifest's digests. DP_DATA, DP_IO naming the fault of
 * the checkpoint that was asked for, or that DIR has none; the manifest is to be freed by manifest_fini. */
DP_MUST_CHECK dp_err checkpoint_choose(const char *path, struct checkpoint_damage damage,
                                       struct checkpoint_chosen *ret_chosen, dp_error *err);

/* The checkpoints of a folder DIR that may be whole. */
struct checkpoint_list {
    struct checkpoint_candidate {
        uint64_t train_step, generation;
    } * list; /* [count], heap */
    size_t count, room;
    size_t damaged;      /* others, of which was told */
    uint64_t generation; /* the latest, 0: there is none */
};
/* Reads their manifests. DP_IO, DP_NOMEM; DP_SYSTEM where one cannot be read by this process, and may be whole. Always
 * followed by checkpoint_list_fini. */
DP_MUST_CHECK dp_err checkpoint_list_read(const char *dir, struct checkpoint_damage damage,
                                          struct checkpoint_list *ret_list, dp_error *err);
/* Verifies one after the other, the latest first, and takes those that are not whole from the list; *ret_chosen is the
 * first that is. *ret_found false: none is. Errors as above. */
DP_MUST_CHECK dp_err checkpoint_list_choose(const char *dir, struct checkpoint_list *list,
                                            struct checkpoint_damage damage, struct checkpoint_chosen *ret_chosen,
                                            bool *ret_found, dp_error *err);
void checkpoint_list_fini(struct checkpoint_list *list);

#endif
