/* manifest.json of a checkpoint: what job it is of, at which step, and what its files are. It is text for people too.
 * Its last member, "xxh3", is the digest of all bytes before its line, so that no byte can change without notice.
 * Thread: any. */
#ifndef DP_COMMON_CHECKPOINT_MANIFEST_H
#define DP_COMMON_CHECKPOINT_MANIFEST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/dp_err.h"
#include "common/tensor/history.h"
#include "common/tensor/safetensors.h"

enum { MANIFEST_NAME_MAX = 64 };

struct manifest_file {
    char name[MANIFEST_NAME_MAX];   /* shard-0.safetensors */
    char member[MANIFEST_NAME_MAX]; /* the server that has written it; "": the head's */
    uint64_t bytes, digest;         /* XXH3, 64 bits, seed 0 */
};

/* All texts and lists are heap, freed by manifest_fini. */
struct manifest {
    uint64_t generation;  /* number of times that the job was begun or resumed in this folder: 1, 2, ... */
    uint64_t incarnation; /* of the job that wrote it */
    uint64_t step;        /* of the plan: the cut */
    uint64_t train_step;  /* training steps that theta has seen, */
    uint64_t train_steps; /* and that the job had to do */
    uint64_t settings;    /* number of the last setting by dp-ctl that it has (server/store/settings.h) */
    char *written_at;     /* UTC, as 2026-11-30T23:59:59Z; for people */
    char *version;        /* of dp */
    json_t *spec;         /* an object {option: text} of what decides the job's result */
    void *join;           /* the packed Dp__Join that settled the job */
    size_t join_bytes;
    char *numerics;                  /* of its workers */
    struct schedule_past rates;      /* learning rates set while the job ran, by training step */
    struct schedule_periods periods; /* lengths of its schedule, by training step */
    struct consistency consistency;  /* changes of it, by step of the plan */
    json_t *sums;                    /* an object: sums of the epoch under way, as the display has them */
    struct safetensors_meta model;   /* the metadata that a file of the model would have (worker/model/README.md), */
    struct tensors tensors;          /* and its tensors */
    struct manifest_file *files;     /* [file_count] */
    size_t file_count;
};

/* The text, heap, with its digest. DP_NOMEM. */
DP_MUST_CHECK dp_err manifest_write(const struct manifest *manifest, char **ret_text, size_t *ret_bytes);
/* Reads and checks what was written; `name` is used in errors. DP_DATA saying what is wrong, DP_NOMEM. The fuzz target
 * calls it. */
DP_MUST_CHECK dp_err manifest_parse(const char *name, const char *text, size_t bytes, struct manifest *ret_manifest,
                                    dp_error *err);
/* The manifest at a path. DP_IO, DP_DATA naming it; DP_SYSTEM where the fault is not the file's: no right to read it,
 * no more descriptors. */
DP_MUST_CHECK dp_err manifest_read(const char *path, struct manifest *ret_manifest, dp_error *err);
/* Accepts a zeroed one. */
void manifest_fini(struct manifest *manifest);

/* Whether files in `folder` have the sizes and digests of the manifest; `member`: those of this server alone, NULL:
 * all. Reads all bytes. DP_DATA, DP_IO naming the file and its fault, DP_SYSTEM as above. */
DP_MUST_CHECK dp_err manifest_verify(const struct manifest *manifest, const char *folder, const char *member,
                                     dp_error *err);

#endif
