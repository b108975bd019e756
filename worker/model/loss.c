/* Losses: from scores to dLoss/dscore and metrics. exp and log1p are evaluated only at arguments <= 0 and >= 0, so no
 * finite score overflows. Losses are summed in double, in the order of the rows. Thread: any. */
#include "worker/model/loss.h"

#include <math.h>

#include "common/kernels/kernels.h"
#include "worker/model/impl.h"

/* 1/2 (s - y)^2 */
void loss_squared(const struct model_spec *spec, const float *targets, const uint64_t *rows, size_t count,
                  float *scores, struct model_scratch *scratch, dp_metrics *metrics)
{
    (void)spec, (void)scratch;
    for (size_t i = 0; i < count; i++) {
        float y = targets[rows[i]];
        double error = (double)scores[i] - (double)y;
        metrics->loss += 0.5 * error * error;
        scores[i] -= y;
    }
    metrics->count += count;
}

/* With m = y s and e = exp(-|m|): loss = max(-m, 0) + log1p(e); dLoss/ds = -y / (1 + exp(m)), which is
 * -y e/(1 + e) for m >= 0 and -y/(1 + e) for m < 0. */
void loss_logistic(const struct model_spec *spec, const float *targets, const uint64_t *rows, size_t count,
                   float *scores, struct model_scratch *scratch, dp_metrics *metrics)
{
    (void)spec;
    const struct kernels *k = kernels_get();
    float *e = scratch->work, *logs = scratch->logs;
    for (size_t i = 0; i < count; i++)
        e[i] = -fabsf(scores[i]);
    k->exp(count, e, e);
    k->log1p(count, e, logs);
    for (size_t i = 0; i < count; i++) {
        float y = targets[rows[i]], m = y * scores[i];
        metrics->loss += (double)(m < 0 ? -m : 0) + (double)logs[i];
        metrics->correct += (scores[i] > 0) == (y > 0);
        scores[i] = -y * ((m < 0 ? 1 : e[i]) / (1 + e[i]));
    }
    metrics->count += count;
}

/* The first of the largest. */
static size_t largest(size_t n, const float *x)
{
    size_t at = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[at])
            at = i;
    return at;
}

/* With z_c = s_c - max s, e_c = exp(z_c) and rest = the sum of e_c without the maximum's own 1 (in double, by class):
 * loss = log1p(rest) - z_y; dLoss/ds_c = e_c/(1 + rest) - [c = y]. */
void loss_softmax(const struct model_spec *spec, const float *targets, const uint64_t *rows, size_t count,
                  float *scores, struct model_scratch *scratch, dp_metrics *metrics)
{
    const struct kernels *k = kernels_get();
    const size_t classes = spec->classes;
    float *z = scratch->work, *rest = scratch->rest;
    for (size_t i = 0; i < count; i++) {
        const float *s = scores + i * classes;
        size_t top = largest(classes, s);
        metrics->correct += top == (size_t)targets[rows[i]];
        for (size_t c = 0; c < classes; c++)
            z[i * classes + c] = s[c] - s[top];
    }
    k->exp(count * classes, z, scores);
    for (size_t i = 0; i < count; i++) {
        size_t top = largest(classes, z + i * classes);
        double sum = 0;
        for (size_t c = 0; c < classes; c++)
            sum += c == top ? 0 : (double)scores[i * classes + c];
        rest[i] = (float)sum;
    }
    k->log1p(count, rest, scratch->logs);
    for (size_t i = 0; i < count; i++) {
        size_t y = (size_t)targets[rows[i]];
        metrics->loss += (double)scratch->logs[i] - (double)z[i * classes + y];
        for (size_t c = 0; c < classes; c++)
            scores[i * classes + c] /= 1 + rest[i];
        scores[i * classes + y] -= 1;
    }
    metrics->count += count;
}
