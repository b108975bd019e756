/* Buffers of a thread; see scratch.h. Thread: one. */
#include "worker/model/scratch.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/base/mem.h"
#include "common/base/mem_room.h"
#include "common/base/util.h"
#include "worker/model/impl.h"

enum { RUN_ROWS_MAX = 1024, RUN_ELEMS = 1 << 22 };

/* Dense scores depend, in their last bits, on how many rows one BLAS call sees: the length of a run may depend on
 * nothing that differs between workers. */
static size_t run_rows(const struct model_spec *spec, bool dense)
{
    size_t row_elems = dense ? MAX(spec->features, (uint64_t)model_width(spec)) : model_width(spec);
    size_t rows = RUN_ELEMS / row_elems;
    return MAX(MIN(rows, (size_t)RUN_ROWS_MAX), (size_t)1);
}

/* Asked for here, and kept until BLAS is called. */
static void *take_blas_room(void)
{
    void *room = mmap(NULL, BLAS_ROOM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return room == MAP_FAILED ? NULL : room;
}

void scratch_give_blas_room(struct model_scratch *scratch)
{
    if (scratch->blas_room)
        munmap(scratch->blas_room, BLAS_ROOM_BYTES);
    scratch->blas_room = NULL;
}

/* Whether there is memory for `rows` rows of `features` floats. */
static bool has_room(size_t rows, uint64_t features)
{
    size_t bytes;
    dp_error unused;
    return features <= SIZE_MAX / sizeof(float) && !__builtin_mul_overflow(rows, features * sizeof(float), &bytes) &&
           !mem_check_room("rows", bytes, &unused);
}

struct model_scratch *model_scratch_new(const struct model_spec *spec, size_t rows_max, bool dense)
{
    size_t width = model_width(spec), scores;
    /* BLAS counts in int. */
    if (dense && (spec->features > INT_MAX || spec->classes > INT_MAX || rows_max > INT_MAX))
        return NULL;
    struct model_scratch *scratch = calloc(1, sizeof *scratch);
    if (!scratch)
        return NULL;
    scratch->run_rows = run_rows(spec, dense);
    scratch->rows_max = MAX(rows_max, scratch->run_rows);
    if (!__builtin_mul_overflow(scratch->rows_max, width, &scores)) {
        scratch->scores = mem_array(scores, sizeof *scratch->scores);
        scratch->work = mem_array(scores, sizeof *scratch->work);
        scratch->rest = mem_array(scratch->rows_max, sizeof *scratch->rest);
        scratch->logs = mem_array(scratch->rows_max, sizeof *scratch->logs);
    }
    if (dense && has_room(scratch->rows_max, spec->features))
        scratch->x = mem_array(scratch->rows_max, spec->features * sizeof *scratch->x);
    if (dense)
        scratch->blas_room = take_blas_room();
    if (!scratch->scores || !scratch->work || !scratch->rest || !scratch->logs ||
        (dense && (!scratch->x || !scratch->blas_room)))
        model_scratch_free(&scratch);
    return scratch;
}

void model_scratch_free(struct model_scratch **scratch)
{
    struct model_scratch *s = *scratch;
    if (!s)
        return;
    scratch_give_blas_room(s);
    free(s->x);
    free(s->scores);
    free(s->work);
    free(s->rest);
    free(s->logs);
    mem_freep(scratch);
}

size_t model_run_rows(const struct model_scratch *scratch)
{
    return scratch->run_rows;
}
