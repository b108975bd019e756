/* Regularizers as users write them; see regularize.h. Thread: head, worker. */
#include "common/terms/regularize_text.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/number.h"
#include "common/base/text.h"

/* As of other numbers of the update: well within what floats hold. */
#define STRENGTH_MAX 1e30

static dp_err parse(struct strength *s, const char *option, const char *text, dp_error *err)
{
    char *end;
    bool vanishes;
    s->value = float_parse(text, &end, &vanishes);
    if (end == text || (*end != '\0' && *end != '@') || !(s->value >= 0 && s->value <= STRENGTH_MAX))
        return dp_fail(err, DP_USAGE,
                       "option --%s: '%.80s' is not a number of at least 0 and at most %g, or NUMBER@TENSOR", option,
                       text, STRENGTH_MAX);
    if (vanishes)
        return dp_fail(err, DP_USAGE,
                       "option --%s: '%.80s' is too small: as a 32-bit float it is 0; the smallest is 1.4e-45", option,
                       text);
    s->tensor[0] = '\0';
    if (*end == '@' && (end[1] == '\0' || !str_copy(s->tensor, sizeof s->tensor, end + 1)))
        return dp_fail(err, DP_USAGE, "option --%s: '%.80s' names no tensor behind the @", option, text);
    return DP_OK;
}

dp_err strengths_add(struct strengths *strengths, const char *option, const char *text, dp_error *err)
{
    struct strength s = {0};
    dp_err e = parse(&s, option, text, err);
    if (e)
        return e;
    for (uint32_t i = 0; i < strengths->count; i++)
        if (strcmp(strengths->list[i].tensor, s.tensor) == 0)
            return dp_fail(err, DP_USAGE, "option --%s is given twice for %s%s: %g and %g", option,
                           s.tensor[0] ? "tensor " : "all tensors", s.tensor, strengths->list[i].value, s.value);
    if (strengths->count == TENSOR_COUNT_MAX)
        return dp_fail(err, DP_USAGE, "option --%s: at most %d", option, TENSOR_COUNT_MAX);
    strengths->list[strengths->count++] = s;
    return DP_OK;
}

double strengths_of(const struct strengths *strengths, const char *tensor)
{
    double value = 0;
    for (uint32_t i = 0; i < strengths->count; i++) {
        const struct strength *s = &strengths->list[i];
        if (strcmp(s->tensor, tensor) == 0)
            return s->value;
        if (s->tensor[0] == '\0')
            value = s->value;
    }
    return value;
}

static const struct tensor *find(const struct tensors *tensors, const char *name)
{
    for (uint32_t t = 0; t < tensors->count; t++)
        if (strcmp(tensors->list[t].name, name) == 0)
            return &tensors->list[t];
    return NULL;
}

static dp_err check_names(const struct strengths *strengths, const char *option, const struct tensors *tensors,
                          dp_error *err)
{
    for (uint32_t i = 0; i < strengths->count; i++) {
        const char *name = strengths->list[i].tensor;
        const struct tensor *tensor = find(tensors, name);
        if (name[0] && !tensor)
            return dp_fail(err, DP_USAGE, "option --%s: the model has no tensor '%s'; its first is '%s'", option, name,
                           tensors->list[0].name);
        if (name[0] && !tensor->regularized)
            return dp_fail(err, DP_USAGE, "option --%s: tensor '%s' is an intercept, which is not regularized", option,
                           name);
    }
    return DP_OK;
}

dp_err regularizers_resolve(const struct regularizers *r, const struct tensors *tensors, struct regular *regular,
                            dp_error *err)
{
    dp_err e = check_names(&r->l1, "l1", tensors, err);
    if (!e)
        e = check_names(&r->l2, "l2", tensors, err);
    if (!e)
        e = check_names(&r->group, "group-lasso", tensors, err);
    for (uint32_t t = 0; !e && t < tensors->count; t++) {
        const struct tensor *tensor = &tensors->list[t];
        regular[t] = (struct regular){0};
        if (!tensor->regularized)
            continue;
        const uint64_t row = tensor_row_elems(tensor);
        const uint64_t elems = tensor->kind == TENSOR_DENSE ? tensor->elems : row;
        regular[t] = (struct regular){strengths_of(&r->l1, tensor->name), strengths_of(&r->l2, tensor->name),
                                      strengths_of(&r->group, tensor->name), r->group_size ? r->group_size : row};
        if (regular[t].group > 0 && elems % regular[t].group_size != 0)
            e = dp_fail(err, DP_USAGE,
                        "option --group-size: %" PRIu64 " does not divide the %" PRIu64 " elements of tensor '%s'",
                        r->group_size, elems, tensor->name);
    }
    return e;
}
