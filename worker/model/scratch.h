/* Buffers for the slots of one thread. Thread: one. */
#ifndef DP_WORKER_MODEL_SCRATCH_H
#define DP_WORKER_MODEL_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "worker/model/model.h"

/* For slots of at most rows_max rows of dense or sparse data. NULL when out of memory. */
struct model_scratch *model_scratch_new(const struct model_spec *spec, size_t rows_max, bool dense);
void model_scratch_free(struct model_scratch **scratch);
/* Rows that model_evaluate and others may score at once with this scratch. */
size_t model_run_rows(const struct model_scratch *scratch);

/* OpenBLAS makes a buffer for each thread that calls it, and where memory is refused it asks again for ever: this is
 * the most that it takes. */
enum { BLAS_ROOM_BYTES = 129 << 20 };
/* Frees the room that the scratch holds for BLAS; to be called before BLAS is first called. */
void scratch_give_blas_room(struct model_scratch *scratch);

#endif
