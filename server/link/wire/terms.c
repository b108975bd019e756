/* Constraints of a message; see terms.h. Thread: any. */
#include "server/link/wire/terms.h"

#include <math.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"

/* Indices ascend within the constraint's elements: a commit adds at them without another look. */
static dp_err check_row(const struct linear_row *row, uint64_t elems, dp_error *err)
{
    for (size_t i = 0; i < row->count; i++) {
        if (row->index[i] >= elems || (i > 0 && row->index[i] <= row->index[i - 1]))
            return dp_fail(err, DP_PROTO, "indices of a linear constraint do not ascend within its %llu elements",
                           (unsigned long long)elems);
        if (!isfinite(row->value[i]))
            return dp_fail(err, DP_PROTO, "a linear constraint has a value that is not finite");
    }
    return DP_OK;
}

static dp_err read_row(struct wire_reader *reader, const Dp__Link__Row *body, uint64_t elems, struct linear_row *row,
                       dp_error *err)
{
    void *index, *value;
    *row = (struct linear_row){.equality = body->equality, .bound = body->bound, .squares = body->squares};
    dp_err e = wire_take_part(reader, body->count, sizeof *row->index, &index, err);
    if (e)
        return e;
    row->index = index;
    e = wire_take_part(reader, body->count, sizeof *row->value, &value, err);
    if (e)
        return e;
    row->value = value;
    row->count = (size_t)body->count;
    return check_row(row, elems, err);
}

static dp_err read_linear(struct wire_reader *reader, const Dp__Link__Constraint *body, uint64_t elems,
                          struct linear *linear, dp_error *err)
{
    linear->rows = mem_array_zero(MAX(body->n_rows, (size_t)1), sizeof *linear->rows);
    if (!linear->rows)
        return dp_fail(err, DP_NOMEM, "out of memory for %zu linear constraints", body->n_rows);
    for (size_t r = 0; r < body->n_rows; r++) {
        linear->count++;
        dp_err e = read_row(reader, body->rows[r], elems, &linear->rows[r], err);
        if (e)
            return e;
    }
    return DP_OK;
}

/* Index 0 of a linear constraint is at `offset` of theta. */
static dp_err check_place(const Dp__Link__Constraint *body, const struct tensors *tensors, dp_error *err)
{
    uint64_t all = UINT64_MAX >> (TENSOR_COUNT_MAX - tensors->count);
    if (body->kind > CONSTRAINT_LINEAR || (body->kind != CONSTRAINT_LINEAR) != (body->n_rows == 0))
        return dp_fail(err, DP_PROTO, "a constraint of kind %u with %zu rows", body->kind, body->n_rows);
    if (body->mask == 0 || body->mask & ~all || body->offset > tensors_total(tensors) ||
        strlen(body->tensor) >= TENSOR_NAME_MAX)
        return dp_fail(err, DP_PROTO, "a constraint on tensors that the job does not have");
    return DP_OK;
}

static dp_err check_all(const Dp__Link__Constraints *body, dp_error *err)
{
    size_t rows = 0;
    if (!body)
        return dp_fail(err, DP_PROTO, "a job without a list of constraints");
    if (body->method > METHOD_AUGMENTED || body->n_list > CONSTRAINTS_MAX)
        return dp_fail(err, DP_PROTO, "%zu constraints by method %u; at most %d", body->n_list, body->method,
                       CONSTRAINTS_MAX);
    if (body->n_list > 0 && body->every == 0)
        return dp_fail(err, DP_PROTO, "multipliers that change every 0 steps");
    for (size_t i = 0; i < body->n_list; i++)
        rows += body->list[i]->n_rows;
    if (rows > CONSTRAINT_ROWS_MAX)
        return dp_fail(err, DP_PROTO, "%zu rows of linear constraints; at most %d", rows, CONSTRAINT_ROWS_MAX);
    return DP_OK;
}

static dp_err read_constraint(struct wire_reader *reader, const Dp__Link__Constraint *body,
                              const struct tensors *tensors, struct constraint *c, dp_error *err)
{
    dp_err e = check_place(body, tensors, err);
    if (e)
        return e;
    c->kind = (enum constraint_kind)body->kind;
    c->lo = body->lo;
    c->hi = body->hi;
    c->arg = body->arg;
    c->mask = body->mask;
    c->offset = body->offset;
    c->elems = body->elems;
    (void)str_copy(c->tensor, sizeof c->tensor, body->tensor);
    if (c->kind != CONSTRAINT_LINEAR)
        return DP_OK;
    return read_linear(reader, body, tensors_total(tensors) - c->offset, &c->linear, err);
}

dp_err wire_constraints_read(struct wire_reader *reader, const Dp__Link__Constraints *body,
                             const struct tensors *tensors, struct constraints *constraints, dp_error *err)
{
    dp_err e = check_all(body, err);
    if (e)
        return e;
    constraints->method = (enum constraint_method)body->method;
    constraints->beta = body->beta;
    constraints->rho_max = body->rho_max;
    constraints->tolerance = body->tolerance;
    constraints->every = body->every;
    for (size_t i = 0; e == DP_OK && i < body->n_list; i++) {
        constraints->count++;
        e = read_constraint(reader, body->list[i], tensors, &constraints->list[i], err);
    }
    return e;
}
