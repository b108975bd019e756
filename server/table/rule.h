/* The update on rows of a table: their initial value, the commits that left them alone
 * (server/update/catchup.h), and a commit that touches them. Rows are records of a table (rows.h); a row's result does
 * not depend on which others are committed with it. Thread: shard. */
#ifndef DP_SERVER_TABLE_RULE_H
#define DP_SERVER_TABLE_RULE_H

#include "common/terms/joint.h"
#include "server/step/job.h"
#include "server/table/rows.h"
#include "server/update/catchup.h"

enum { ROWRULE_FLOATS = 1024, ROWRULE_GAPS = 256 };

struct rowrule {
    const struct shard_job *job;
    uint32_t tensor;
    uint32_t dim;
    bool moves;                                     /* rows change while they are left alone */
    bool projects;                                  /* rows are under a constraint */
    bool infinite;                                  /* a commit has left something that is not finite */
    struct joint joint;                             /* proximal steps and projections */
    uint32_t chunk;                                 /* rows that are committed at a time */
    float *w, *g, *rates, *state[UPDATE_STATE_MAX]; /* [chunk * dim] */
    struct catchup gaps[ROWRULE_GAPS];              /* prepared, by from and to */
};

/* Whether the job's update can be had on tables: that of a row must be a function of the row alone, and what happens to
 * it while it is left alone must have a closed form or be replayed exactly. DP_USAGE saying why not. */
DP_MUST_CHECK dp_err rowrule_check(const struct shard_job *job, dp_error *err);
DP_MUST_CHECK dp_err rowrule_init(struct rowrule *rule, const struct shard_job *job, uint32_t tensor);
void rowrule_fini(struct rowrule *rule);

/* Operations on floats, about, of rowrule_read. */
uint64_t rowrule_cost(struct rowrule *rule, const float *record, uint64_t t);
/* The floats of a row at training step t, from its record as it was at or before t (NULL: never touched); out[dim].
 * Nothing is written to the record. */
void rowrule_read(struct rowrule *rule, uint64_t id, const float *record, uint64_t t, float *out);
/* Commits training step t on the rows of a list that the table has, with the sums of their gradients. `before`, of
 * [list->count * stride] floats, gets the records as they were. Records change nowhere else. */
void rowrule_commit(struct rowrule *rule, struct table *table, const struct rowlist *list, const float *values,
                    uint64_t t, uint64_t samples, float *before);

#endif
