/* Models: gradients against differences in double and against naive loops, bit for bit where that is promised. */
#include <criterion/criterion.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/base/util.h"
#include "common/kernels/kernels.h"
#include "common/kernels/numerics.h"
#include "tests/unit/support/leaks.h"
#include "worker/model/choose_labels.h"
#include "worker/model/labels.h"
#include "worker/model/model.h"
#include "worker/model/scratch.h"

enum { D = 7, ROWS = 150, CLASSES = 4, THETA_MAX = D * CLASSES + CLASSES };

static const char *const NAMES[] = {"linear", "logistic", "softmax"};

/* A model with data, targets and theta made of small random numbers. */
struct setting {
    const struct model *model;
    struct model_spec spec;
    struct data data;
    float *targets;
    uint64_t rows[ROWS];
    size_t elems;
    float *theta;
    float *grad;
    struct model_scratch *scratch;
    dp_metrics metrics;
};

static uint64_t state;

static float random_float(void)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(int32_t)(state >> 32) / 0x1p31);
}

static void data_fill(struct data *data, bool sparse)
{
    *data = (struct data){.name = strdup("d"), .rows = ROWS, .features = D};
    data->labels = mem_array_zero(ROWS, sizeof(float));
    data->values = mem_array(ROWS * D, sizeof(float));
    if (sparse) {
        data->row_at = mem_array(ROWS + 1, sizeof(uint64_t));
        data->columns = mem_array(ROWS * D, sizeof(uint32_t));
        data->row_at[0] = 0;
    }
    uint64_t n = 0;
    for (uint64_t r = 0; r < ROWS; r++) {
        for (uint32_t c = 0; c < D; c++) {
            float value = random_float(), gap = random_float();
            value = gap < 0.2f ? value * 2 : 0;
            if (!sparse) {
                data->values[r * D + c] = value;
            } else if (gap < 0.2f) {
                data->values[n] = value;
                data->columns[n++] = c;
            }
        }
        if (sparse)
            data->row_at[r + 1] = n;
    }
}

/* The same numbers whether sparse or dense. */
static struct setting setting_make(const char *name, bool sparse, bool intercept)
{
    struct setting s = {.model = model_find(name)};
    blas_init();
    state = 7;
    bool softmax = strcmp(name, "softmax") == 0;
    s.spec = (struct model_spec){.features = D, .classes = softmax ? CLASSES : 0, .intercept = intercept};
    data_fill(&s.data, sparse);
    size_t width = softmax ? CLASSES : 1;
    s.elems = (D + intercept) * width;
    s.theta = mem_array(THETA_MAX, sizeof(float));
    s.grad = mem_array(THETA_MAX, sizeof(float));
    for (size_t i = 0; i < THETA_MAX; i++)
        s.theta[i] = random_float(), s.grad[i] = NAN;
    s.targets = mem_array(ROWS, sizeof(float));
    for (uint64_t r = 0; r < ROWS; r++) {
        float u = random_float();
        s.targets[r] = softmax ? floorf((u * 0.5f + 0.5f) * CLASSES) : s.model->classifies ? (u < 0 ? -1.0f : 1.0f) : u;
        s.rows[r] = (r * 67 + 11) % ROWS;
    }
    s.scratch = model_scratch_new(&s.spec, ROWS, !sparse);
    return s;
}

static void setting_free(struct setting *s)
{
    data_fini(&s->data);
    free(s->targets);
    free(s->theta);
    free(s->grad);
    model_scratch_free(&s->scratch);
}

static void gradient_of(struct setting *s, size_t first, size_t count)
{
    s->metrics = (dp_metrics){0};
    model_gradient(s->model, &s->spec, &s->data, s->targets, s->rows + first, count, s->theta, s->scratch, s->grad,
                   &s->metrics);
}

/* Entry (row, column) of either form. */
static double entry(const struct data *data, uint64_t row, uint64_t column)
{
    if (!data_is_sparse(data))
        return (double)data->values[row * data->features + column];
    for (uint64_t e = data->row_at[row]; e < data->row_at[row + 1]; e++)
        if (data->columns[e] == column)
            return (double)data->values[e];
    return 0;
}

/* Sum of losses in double by the textbook formulas. */
static double loss_in_double(const struct setting *s, const double *theta, size_t count)
{
    size_t width = s->spec.classes ? s->spec.classes : 1;
    double total = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t row = s->rows[i];
        double score[CLASSES] = {0}, y = (double)s->targets[row], sum = 0;
        for (size_t c = 0; c < width; c++) {
            for (uint64_t j = 0; j < D; j++)
                score[c] += entry(&s->data, row, j) * theta[j * width + c];
            score[c] += s->spec.intercept ? theta[D * width + c] : 0;
            sum += exp(score[c]);
        }
        if (s->spec.classes)
            total += log(sum) - score[(size_t)y];
        else
            total += s->model->classifies ? log1p(exp(-y * score[0])) : 0.5 * (score[0] - y) * (score[0] - y);
    }
    return total;
}

static void assert_close(double a, double b, double tolerance, const char *what)
{
    cr_assert(fabs(a - b) <= tolerance * (1 + fabs(b)), "%s: %.9g is not %.9g", what, a, b);
}

Test(gradient, equals_central_differences_in_double)
{
    for (size_t n = 0; n < 3; n++) {
        for (int form = 0; form < 4; form++) {
            struct setting s = setting_make(NAMES[n], form & 1, form & 2);
            gradient_of(&s, 0, ROWS);
            double theta[THETA_MAX], h = 1e-5;
            for (size_t i = 0; i < THETA_MAX; i++)
                theta[i] = (double)s.theta[i];
            assert_close(s.metrics.loss, loss_in_double(&s, theta, ROWS), 1e-6, NAMES[n]);
            cr_assert_eq(s.metrics.count, ROWS);
            for (size_t i = 0; i < s.elems; i++) {
                double at = theta[i];
                theta[i] = at + h;
                double up = loss_in_double(&s, theta, ROWS);
                theta[i] = at - h;
                double down = loss_in_double(&s, theta, ROWS);
                theta[i] = at;
                assert_close((double)s.grad[i], (up - down) / (2 * h), 2e-5, NAMES[n]);
            }
            setting_free(&s);
        }
    }
    ASSERT_NO_LEAKS();
}

static float one_exp(float x)
{
    float y;
    kernels_ref.exp(1, &x, &y);
    return y;
}

/* The promise of worker/model/README.md for sparse data, written naively: logistic. */
static void naive_logistic(const struct setting *s, float *grad)
{
    memset(grad, 0, s->elems * sizeof *grad);
    for (size_t i = 0; i < ROWS; i++) {
        const struct data *d = &s->data;
        uint64_t row = s->rows[i], begin = d->row_at[row], end = d->row_at[row + 1];
        float score = 0, y = s->targets[row];
        for (uint64_t e = begin; e < end; e++)
            score += d->values[e] * s->theta[d->columns[e]];
        score += s->spec.intercept ? s->theta[D] : 0;
        float t = one_exp(-fabsf(score));
        float r = -y * ((y * score < 0 ? 1 : t) / (1 + t));
        for (uint64_t e = begin; e < end; e++)
            grad[d->columns[e]] += d->values[e] * r;
        if (s->spec.intercept)
            grad[D] += r;
    }
}

static void naive_softmax(const struct setting *s, float *grad)
{
    memset(grad, 0, s->elems * sizeof *grad);
    for (size_t i = 0; i < ROWS; i++) {
        const struct data *d = &s->data;
        uint64_t row = s->rows[i], begin = d->row_at[row], end = d->row_at[row + 1];
        float score[CLASSES] = {0};
        size_t top = 0;
        for (size_t c = 0; c < CLASSES; c++) {
            for (uint64_t e = begin; e < end; e++)
                score[c] += d->values[e] * s->theta[d->columns[e] * CLASSES + c];
            score[c] += s->spec.intercept ? s->theta[D * CLASSES + c] : 0;
            top = score[c] > score[top] ? c : top;
        }
        double rest = 0;
        float best = score[top];
        for (size_t c = 0; c < CLASSES; c++) {
            score[c] = one_exp(score[c] - best);
            rest += c == top ? 0 : (double)score[c];
        }
        for (size_t c = 0; c < CLASSES; c++) {
            float r = score[c] / (1 + (float)rest) - (c == (size_t)s->targets[row] ? 1.0f : 0.0f);
            for (uint64_t e = begin; e < end; e++)
                grad[d->columns[e] * CLASSES + c] += d->values[e] * r;
            if (s->spec.intercept)
                grad[D * CLASSES + c] += r;
        }
    }
}

Test(gradient, sparse_has_the_bits_of_a_naive_loop_with_any_kernels)
{
    static const char *const TABLES[] = {"ref", "avx2", "avx512"};
    for (size_t t = 0; t < ARRAY_LEN(TABLES); t++) {
        dp_error err;
        if (kernels_select(TABLES[t], &err) != DP_OK)
            continue;
        for (int intercept = 0; intercept < 2; intercept++) {
            float naive[THETA_MAX];
            struct setting s = setting_make("logistic", true, intercept);
            gradient_of(&s, 0, ROWS);
            naive_logistic(&s, naive);
            cr_assert_arr_eq(s.grad, naive, s.elems * sizeof *naive);
            setting_free(&s);
            s = setting_make("softmax", true, intercept);
            gradient_of(&s, 0, ROWS);
            naive_softmax(&s, naive);
            cr_assert_arr_eq(s.grad, naive, s.elems * sizeof *naive);
            setting_free(&s);
        }
    }
}

Test(gradient, dense_is_near_sparse)
{
    for (size_t n = 0; n < 3; n++) {
        struct setting sparse = setting_make(NAMES[n], true, true), dense = setting_make(NAMES[n], false, true);
        gradient_of(&sparse, 0, ROWS);
        gradient_of(&dense, 0, ROWS);
        for (size_t i = 0; i < dense.elems; i++)
            assert_close((double)dense.grad[i], (double)sparse.grad[i], 1e-5, NAMES[n]);
        assert_close(dense.metrics.loss, sparse.metrics.loss, 1e-6, NAMES[n]);
        cr_assert_eq(dense.metrics.correct, sparse.metrics.correct);
        setting_free(&sparse);
        setting_free(&dense);
    }
}

/* The rows of a slot, wherever they stand in the data and whatever the scratch held or has room for. */
Test(gradient, depends_on_theta_and_rows_in_order_alone)
{
    for (size_t n = 0; n < 3; n++) {
        struct setting a = setting_make(NAMES[n], false, true), b = setting_make(NAMES[n], false, true);
        for (size_t i = 0; i < 40; i++) {
            memcpy(b.data.values + i * D, a.data.values + a.rows[i] * D, D * sizeof(float));
            b.targets[i] = a.targets[a.rows[i]];
            b.rows[i] = i;
        }
        gradient_of(&a, 0, 40);
        float theta = b.theta[0];
        b.theta[0] = NAN;
        gradient_of(&b, 0, 100);
        b.theta[0] = theta;
        gradient_of(&b, 0, 40);
        cr_assert_arr_eq(a.grad, b.grad, a.elems * sizeof(float));
        cr_assert_arr_eq(&a.metrics, &b.metrics, sizeof a.metrics);
        model_scratch_free(&b.scratch);
        b.scratch = model_scratch_new(&b.spec, 5000, true);
        gradient_of(&b, 0, 40);
        cr_assert_arr_eq(a.grad, b.grad, a.elems * sizeof(float));
        setting_free(&a);
        setting_free(&b);
    }
}

Test(gradient, of_no_rows_is_zero)
{
    static const float zeros[THETA_MAX];
    for (size_t n = 0; n < 3; n++) {
        for (int sparse = 0; sparse < 2; sparse++) {
            struct setting s = setting_make(NAMES[n], sparse, true);
            gradient_of(&s, 0, 0);
            cr_assert_arr_eq(s.grad, zeros, s.elems * sizeof(float));
            cr_assert(s.metrics.count == 0 && s.metrics.loss == 0 && s.metrics.correct == 0);
            setting_free(&s);
        }
    }
}

Test(gradient, huge_scores_stay_finite)
{
    for (size_t n = 0; n < 3; n++) {
        for (int sparse = 0; sparse < 2; sparse++) {
            struct setting s = setting_make(NAMES[n], sparse, true);
            for (size_t i = 0; i < s.elems; i++)
                s.theta[i] *= 1e33f;
            gradient_of(&s, 0, ROWS);
            cr_assert(isfinite(s.metrics.loss) && s.metrics.loss > 1e30, "%s: %g", NAMES[n], s.metrics.loss);
            for (size_t i = 0; i < s.elems; i++)
                cr_assert(isfinite(s.grad[i]));
            setting_free(&s);
        }
    }
}

Test(gradient, has_no_negative_zero)
{
    for (size_t n = 0; n < 3; n++) {
        for (int sparse = 0; sparse < 2; sparse++) {
            struct setting s = setting_make(NAMES[n], sparse, true);
            uint64_t values = sparse ? s.data.row_at[ROWS] : ROWS * D;
            for (uint64_t i = 0; i < values; i++)
                s.data.values[i] = i % 2 ? -0.0f : 0.0f;
            gradient_of(&s, 0, ROWS);
            for (size_t i = 0; i < s.elems; i++)
                cr_assert(s.grad[i] != 0 || !signbit(s.grad[i]), "%s: element %zu", NAMES[n], i);
            setting_free(&s);
        }
    }
}

Test(gradient, sparse_data_may_be_narrower_than_the_model)
{
    struct setting s = setting_make("logistic", true, false);
    gradient_of(&s, 0, ROWS);
    float first = s.grad[0];
    s.spec.features = D + 3; /* theta and grad have room */
    gradient_of(&s, 0, ROWS);
    cr_assert(s.grad[0] == first && s.grad[D] == 0 && s.grad[D + 2] == 0);
    setting_free(&s);
}

Test(evaluate, equals_the_metrics_of_a_gradient)
{
    for (size_t n = 0; n < 3; n++) {
        for (int sparse = 0; sparse < 2; sparse++) {
            struct setting s = setting_make(NAMES[n], sparse, true);
            gradient_of(&s, 0, ROWS);
            model_scratch_free(&s.scratch);
            s.scratch = model_scratch_new(&s.spec, 1, !sparse);
            dp_metrics metrics = {0};
            model_evaluate(s.model, &s.spec, &s.data, s.targets, s.rows, ROWS, s.theta, s.scratch, &metrics);
            cr_assert_arr_eq(&metrics, &s.metrics, sizeof metrics);
            uint64_t many[3000], times = ARRAY_LEN(many) / ROWS;
            for (size_t i = 0; i < ARRAY_LEN(many); i++)
                many[i] = s.rows[i % ROWS];
            cr_assert_lt(model_run_rows(s.scratch), ARRAY_LEN(many));
            metrics = (dp_metrics){0};
            model_evaluate(s.model, &s.spec, &s.data, s.targets, many, ARRAY_LEN(many), s.theta, s.scratch, &metrics);
            cr_assert_eq(metrics.count, ARRAY_LEN(many));
            cr_assert_eq(metrics.correct, s.metrics.correct * times);
            assert_close(metrics.loss, s.metrics.loss * (double)times, 1e-6, NAMES[n]);
            setting_free(&s);
        }
    }
    ASSERT_NO_LEAKS();
}

Test(answer, is_of_the_question)
{
    for (size_t n = 0; n < 3; n++) {
        struct setting s = setting_make(NAMES[n], false, true);
        const struct question *gradient = question_of(QUESTION_GRADIENT), *loss = question_of(QUESTION_LOSS);
        gradient_of(&s, 0, ROWS);
        float first = s.grad[0];
        s.grad[0] = NAN;
        dp_metrics metrics = {0};
        model_answer(s.model, loss, &s.spec, &s.data, s.targets, s.rows, ROWS, s.theta, s.scratch, NULL, &metrics);
        cr_assert_arr_eq(&metrics, &s.metrics, sizeof metrics);
        metrics = (dp_metrics){0};
        model_answer(s.model, gradient, &s.spec, &s.data, s.targets, s.rows, ROWS, s.theta, s.scratch, s.grad,
                     &metrics);
        cr_assert_arr_eq(&metrics, &s.metrics, sizeof metrics);
        cr_assert_eq(s.grad[0], first);
        setting_free(&s);
    }
}

Test(evaluate, ties_go_to_the_lowest_class)
{
    for (size_t n = 0; n < 3; n++) {
        struct setting s = setting_make(NAMES[n], true, true);
        memset(s.theta, 0, s.elems * sizeof(float));
        size_t lowest = 0;
        for (size_t r = 0; r < ROWS; r++)
            lowest += s.targets[r] == (n == 1 ? -1.0f : 0.0f);
        gradient_of(&s, 0, ROWS);
        cr_assert_eq(s.metrics.correct, n == 0 ? 0 : lowest, "%s", NAMES[n]);
        if (n > 0)
            assert_close(s.metrics.loss, ROWS * log(n == 1 ? 2 : CLASSES), 1e-7, NAMES[n]);
        setting_free(&s);
    }
}

/* tensors and labels */

Test(declare, tensors_of_each_model)
{
    dp_error err;
    struct tensors tensors = {0};
    struct model_spec spec = {.features = 5, .classes = 3, .intercept = true};
    cr_assert_eq(model_find("softmax")->declare(&spec, &tensors, &err), DP_OK);
    cr_assert(tensors.count == 2 && tensors_total(&tensors) == 18);
    cr_assert_str_eq(tensors.list[0].name, "weight");
    cr_assert(tensors.list[0].rank == 2 && tensors.list[0].shape[0] == 5 && tensors.list[0].shape[1] == 3);
    cr_assert(tensors.list[0].regularized && !tensors.list[1].regularized);
    cr_assert_str_eq(tensors.list[1].name, "bias");
    cr_assert(tensors.list[1].rank == 1 && tensors.list[1].elems == 3);
    tensors = (struct tensors){0};
    spec = (struct model_spec){.features = 5};
    cr_assert_eq(model_find("linear")->declare(&spec, &tensors, &err), DP_OK);
    cr_assert(tensors.count == 1 && tensors.list[0].rank == 1 && tensors.list[0].elems == 5);
    cr_assert_null(model_find("hinge"));
    for (size_t n = 0; n < 3; n++)
        cr_assert(model_find(NAMES[n]) && strstr(model_names(), NAMES[n]));
}

static struct label_list list_of(const char *text)
{
    struct label_list labels;
    dp_error err = {0};
    cr_assert_eq(label_list_parse(text, &labels, &err), DP_OK, "%s", err.text);
    return labels;
}

static void check_labels(const char *model, const char *labels, const char *says)
{
    struct label_list list = list_of(labels);
    dp_error err = {0};
    dp_err e = model_check_labels(model_find(model), &list, "f", &err);
    cr_assert_eq(e, says ? DP_MODEL : DP_OK, "%s of %s: %s", labels, model, err.text);
    if (says)
        cr_assert_str_eq(err.text, says);
    label_list_fini(&list);
}

Test(labels, that_suit_a_model)
{
    check_labels("logistic", "-1,1", NULL);
    check_labels("logistic", "0,1", NULL);
    check_labels("logistic", "1,2", NULL);
    check_labels("logistic", "no,yes", NULL);
    check_labels("softmax", "1,2", NULL);
    check_labels("linear", "1", NULL);
    check_labels("logistic", "1,2,yes",
                 "f: has 3 labels (1, 2, yes), and logistic needs two; use --model softmax or "
                 "change the labels");
    check_labels("logistic", "-1", "f: every row has the label -1; logistic needs rows of two classes at least");
    check_labels("softmax", "a", "f: every row has the label a; softmax needs rows of two classes at least");
    ASSERT_NO_LEAKS();
}

/* Targets of the LIBSVM text's rows under the class -> label list; says: the error instead. */
static void check_targets(const char *model, const char *labels, const char *text, const float *want, const char *says)
{
    const struct model *found = model_find(model);
    const struct data_source source = {.path = "f", .label_use = model_label_use(found)};
    struct label_list list = {0};
    struct data data;
    float *targets = NULL;
    dp_error err = {0};
    if (labels)
        list = list_of(labels);
    cr_assert_eq(data_parse(&source, text, strlen(text), NULL, 0, &data, &err), DP_OK, "%s", err.text);
    dp_err e = model_targets(found, &data, &list, "the model's", &targets, &err);
    cr_assert_eq(e, says ? DP_MODEL : DP_OK, "%s: %s", text, err.text);
    if (says)
        cr_assert_str_eq(err.text, says);
    for (uint64_t r = 0; want && r < data.rows; r++)
        cr_assert_eq(targets[r], want[r], "row %d of %s under %s", (int)r, text, labels);
    free(targets);
    data_fini(&data);
    label_list_fini(&list);
}

Test(labels, become_targets)
{
#define ROWS_OF(...) ((const float[]){__VA_ARGS__}), NULL
    check_targets("logistic", "0,1", "0 1:1\n1 1:1\n1.0 1:1\n", ROWS_OF(-1, 1, 1));
    check_targets("softmax", "-3,0,1,7", "0 1:1\n1 1:1\n+1 1:1\n", ROWS_OF(1, 2, 2));
    check_targets("linear", NULL, "0.1 1:1\n7 1:1\n", ROWS_OF(0.1f, 7));
    check_targets("logistic", "no,yes", "yes 1:1\nno 1:1\n", ROWS_OF(1, -1));
    check_targets("logistic", "4,2e1", "20 1:1\n4 1:1\n", ROWS_OF(1, -1));
    check_targets("softmax", "16777216,16777217,no", "16777217 1:1\nno 1:1\n16777216 1:1\n", ROWS_OF(1, 2, 0));
    /* -1, 1 and 0, 1 stand for each other, and no other pair does */
    check_targets("logistic", "-1,1", "0 1:1\n1 1:1\n", ROWS_OF(-1, 1));
    check_targets("logistic", "0,1", "-1 1:1\n+1 1:1\n", ROWS_OF(-1, 1));
    check_targets("logistic", "0,1", "-1 1:1\n", ROWS_OF(-1));
    check_targets("logistic", "0,1", "1 1:1\n", ROWS_OF(1));
    check_targets("logistic", "0,1", "1 1:1\n0 1:1\n-1 1:1\n", NULL,
                  "f:3: label '-1' is none of the model's (0, 1); take data of the same kind");
    check_targets("logistic", "1,2", "1 1:1\n0 1:1\n", NULL,
                  "f:2: label '0' is none of the model's (1, 2); take data of the same kind");
    check_targets("softmax", "0,1", "-1 1:1\n", NULL,
                  "f:1: label '-1' is none of the model's (0, 1); take data of the same kind");
    check_targets("logistic", "0,1", "0 1:1\n\n5 1:1\n", NULL,
                  "f:3: label '5' is none of the model's (0, 1); take data of the same kind");
    check_targets("logistic", "0,1", "yes 1:1\n", NULL,
                  "f:1: label 'yes' is none of the model's (0, 1); take data of the same kind");
#undef ROWS_OF
    ASSERT_NO_LEAKS();
}

/* Labels of a job: by --classes, --label-names and the data. */
static void check_choice(const char *model, const struct labels_wish *wish, const char *text, const char *want,
                         const char *says)
{
    const struct data_source source = {.path = "f", .label_use = LABEL_CLASSES};
    struct label_list labels = {0};
    struct data data;
    char show[LABEL_LIST_TEXT];
    dp_error err = {0};
    cr_assert_eq(data_parse(&source, text, strlen(text), NULL, 0, &data, &err), DP_OK, "%s", err.text);
    dp_err e = choose_labels(model_find(model), wish, data.label_set, "f", &labels, &err);
    cr_assert_eq(e, says ? DP_MODEL : DP_OK, "%s: %s", text, err.text);
    if (want)
        cr_assert_str_eq(label_list_show(&labels, show), want, "%s", text);
    if (says)
        cr_assert_not_null(strstr(err.text, says), "%s: %s", text, err.text);
    label_list_fini(&labels);
    data_fini(&data);
}

Test(labels, of_a_job_whose_workers_share_data)
{
    const struct label_list none = {0};
    const struct labels_wish any = {.names = &none}, three = {.names = &none, .classes = 3};
    check_choice("softmax", &any, "3 1:1\nx 1:1\n1 1:1\n", "1, 3, x", NULL);
    check_choice("softmax", &three, "3 1:1\n2 1:1\n1 1:1\n", "1, 2, 3", NULL);
    check_choice("softmax", &three, "a 1:1\nb 1:1\nc 1:1\n", "a, b, c", NULL);
    check_choice("softmax", &three, "2 1:1\n0 1:1\n", "0, 1, 2", NULL);
    check_choice("softmax", &three, "2 1:1\n", "0, 1, 2", NULL);
    check_choice("softmax", &three, "2 1:1\n3 1:1\n", NULL,
                 "f: has 2 different labels (2, 3), but the job has --classes 3");
    check_choice("softmax", &three, "2 1:1\nx 1:1\n", NULL, "name all with --label-names");
    check_choice("softmax", &three, "2 1:1\n0 1:1\n1 1:1\n7 1:1\n", NULL,
                 "f: has 4 different labels (0, 1, 2, 7), but the job has --classes 3; give --classes 4");
    check_choice("logistic", &any, "7 1:1\n", NULL, "every row has the label 7");
    check_choice("logistic", &any, "7 1:1\n2 1:1\n", "2, 7", NULL);
    ASSERT_NO_LEAKS();
}

Test(labels, of_a_job_that_names_them)
{
    struct label_list names = list_of("-1,2,dog");
    const struct labels_wish wish = {.names = &names, .classes = 3}, local = {.names = &names, .local = true};
    check_choice("softmax", &wish, "dog 1:1\n2.0 1:1\n", "-1, 2, dog", NULL);
    check_choice("softmax", &local, "dog 1:1\n", "-1, 2, dog", NULL);
    check_choice("softmax", &wish, "dog 1:1\n1 1:1\n", NULL, "f:2: label '1' is none of the job's (-1, 2, dog)");
    label_list_fini(&names);
}

Test(labels, of_a_job_whose_workers_have_a_part_each)
{
    const struct label_list none = {0};
    const struct labels_wish three = {.names = &none, .classes = 3, .local = true},
                             two = {.names = &none, .local = true};
    check_choice("softmax", &three, "2 1:1\n", "0, 1, 2", NULL);
    check_choice("softmax", &three, "3 1:1\n", NULL, "label '3' is none of the job's (0, 1, 2)");
    check_choice("softmax", &three, "3 1:1\n", NULL, "dp-server --label-names A,B");
    check_choice("logistic", &two, "1 1:1\n", "", NULL);
    check_choice("logistic", &two, "0 1:1\n", "0, 1", NULL);
    check_choice("logistic", &two, "-1 1:1\n", "-1, 1", NULL);
    check_choice("logistic", &two, "1 1:1\n-1 1:1\n", "-1, 1", NULL);
    check_choice("logistic", &two, "0 1:1\n-1 1:1\n", NULL, "f: has the labels -1, 0, which are neither of");
    check_choice("logistic", &two, "2 1:1\n1 1:1\n", NULL, "dp-server --label-names A,B");
    ASSERT_NO_LEAKS();
}

Test(scratch, that_does_not_fit_is_refused)
{
    struct model_spec spec = {.features = 1u << 31, .classes = 0, .intercept = false};
    cr_assert_null(model_scratch_new(&spec, 10, true));
    spec.features = 10;
    cr_assert_null(model_scratch_new(&spec, SIZE_MAX / 4, false));
    struct model_scratch *none = NULL;
    model_scratch_free(&none);
    ASSERT_NO_LEAKS();
}

/* As with ulimit -v: the address space that there is, and so much more. */
static void limit_memory(rlim_t more_bytes)
{
    FILE *f = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;
    cr_assert(f && fscanf(f, "%lu", &pages) == 1);
    fclose(f);
    rlim_t bytes = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + more_bytes;
    cr_assert_eq(setrlimit(RLIMIT_AS, &(struct rlimit){bytes, RLIM_INFINITY}), 0);
}

/* OpenBLAS would ask for its buffer for ever. */
Test(scratch, without_memory_for_blas_is_refused)
{
    const struct model_spec spec = {.features = 10};
    limit_memory(100 << 20);
    cr_assert_null(model_scratch_new(&spec, 10, true));
    struct model_scratch *sparse = model_scratch_new(&spec, 10, false);
    cr_assert_not_null(sparse);
    model_scratch_free(&sparse);
    ASSERT_NO_LEAKS();
}

/* Memory that was kept for BLAS is there when it is called. */
Test(scratch, keeps_memory_for_blas, .timeout = 60)
{
    limit_memory(160 << 20);
    struct setting s = setting_make("softmax", false, true);
    gradient_of(&s, 0, ROWS);
    setting_free(&s);
    ASSERT_NO_LEAKS();
}
