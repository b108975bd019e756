/* The table of models, and how a slot goes through them. Thread: any. */
#include "worker/model/model.h"

#include <assert.h>
#include <string.h>

#include "common/base/util.h"
#include "worker/model/impl.h"
#include "worker/model/linear.h"
#include "worker/model/loss.h"

static const struct model MODELS[] = {
    {"linear", false, false, linear_declare, linear_scores, loss_squared, linear_backward},
    {"logistic", true, false, linear_declare, linear_scores, loss_logistic, linear_backward},
    {"softmax", true, true, linear_declare, linear_scores, loss_softmax, linear_backward},
};

const struct model *model_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(MODELS); i++)
        if (strcmp(MODELS[i].name, name) == 0)
            return &MODELS[i];
    return NULL;
}

const char *model_names(void)
{
    return "linear|logistic|softmax";
}

void model_gradient(const struct model *model, const struct model_spec *spec, const struct data *data,
                    const float *targets, const uint64_t *rows, size_t count, const float *theta,
                    struct model_scratch *scratch, float *grad, dp_metrics *metrics)
{
    assert(count <= scratch->rows_max);
    model->scores(spec, data, rows, count, theta, scratch, scratch->scores);
    model->residuals(spec, targets, rows, count, scratch->scores, scratch, metrics);
    model->backward(spec, data, rows, count, theta, scratch->scores, scratch, grad);
}

void model_evaluate(const struct model *model, const struct model_spec *spec, const struct data *data,
                    const float *targets, const uint64_t *rows, size_t count, const float *theta,
                    struct model_scratch *scratch, dp_metrics *metrics)
{
    for (size_t first = 0; first < count; first += scratch->run_rows) {
        size_t run = MIN(count - first, scratch->run_rows);
        model->scores(spec, data, rows + first, run, theta, scratch, scratch->scores);
        model->residuals(spec, targets, rows + first, run, scratch->scores, scratch, metrics);
    }
}

void model_answer(const struct model *model, const struct question *asks, const struct model_spec *spec,
                  const struct data *data, const float *targets, const uint64_t *rows, size_t count, const float *theta,
                  struct model_scratch *scratch, float *answer, dp_metrics *metrics)
{
    assert(!asks->pushes == !answer);
    switch (asks->number) {
    case QUESTION_GRADIENT:
        model_gradient(model, spec, data, targets, rows, count, theta, scratch, answer, metrics);
        return;
    case QUESTION_LOSS:
        model_evaluate(model, spec, data, targets, rows, count, theta, scratch, metrics);
        return;
    }
}
