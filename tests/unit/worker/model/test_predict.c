/* eval and predict on small models and data, and what they say where the two do not fit. */
#include <criterion/criterion.h>

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/util.h"
#include "common/kernels/numerics.h"
#include "common/tensor/safetensors.h"
#include "common/terms/regularize_text.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"
#include "worker/model/predict.h"

static char folder[PATH_MAX], model_path[PATH_MAX + 8], data_path[PATH_MAX + 8], out_path[PATH_MAX + 8];

static void begin(void)
{
    blas_init();
    folder_make(folder);
    snprintf(model_path, sizeof model_path, "%s/m", folder);
    snprintf(data_path, sizeof data_path, "%s/d", folder);
    snprintf(out_path, sizeof out_path, "%s/o", folder);
}

static void end(void)
{
    unlink(model_path), unlink(data_path), unlink(out_path);
    cr_assert_eq(rmdir(folder), 0, "a file was left");
    ASSERT_NO_LEAKS();
}

static const float *from_array(void *arg, uint64_t first, uint64_t count)
{
    (void)count;
    return (const float *)arg + first;
}

/* Metadata as dp-server writes them. */
struct sample {
    const char *model, *features, *classes, *intercept, *labels;
    float theta[8];
    struct tensors tensors;
    const char *hash_bits, *hash_seed;
};

/* Metadata of the training data: pairs of keys and values; NULL ends them. */
static const char *const *data_meta;

static void model_make(struct sample *sample)
{
    struct safetensors_meta meta = {0};
    dp_error err = {0};
    const char *const pairs[][2] = {{"format", "dp-model-1"},         {"model", sample->model},
                                    {"features", sample->features},   {"classes", sample->classes},
                                    {"intercept", sample->intercept}, {"labels", sample->labels},
                                    {"dp_version", "0.1.0"},          {"steps", "7"},
                                    {"hash_bits", sample->hash_bits}, {"hash_seed", sample->hash_seed}};
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (pairs[i][1])
            cr_assert_eq(safetensors_meta_set(&meta, pairs[i][0], "%s", pairs[i][1]), DP_OK);
    for (size_t i = 0; data_meta && data_meta[i]; i += 2)
        cr_assert_eq(safetensors_meta_set(&meta, data_meta[i], "%s", data_meta[i + 1]), DP_OK);
    cr_assert_eq(safetensors_write(model_path, &sample->tensors, 0, &meta, from_array, sample->theta, 3, &err), DP_OK,
                 "%s", err.text);
    safetensors_meta_fini(&meta);
}

static void tensor_add(struct sample *sample, const char *name, uint32_t rank, uint64_t rows, uint64_t columns)
{
    dp_error err = {0};
    const uint64_t shape[] = {rows, columns};
    cr_assert_eq(tensors_add(&sample->tensors, name, rank, shape, INIT_ZEROS, 0, true, &err), DP_OK, "%s", err.text);
}

/* weight (1, -2), bias 0.5 */
static struct sample logistic(void)
{
    struct sample s = {"logistic", "2", "0", "on", "0,1", {1, -2, 0.5f}, {0}, NULL, NULL};
    tensor_add(&s, "weight", 1, 2, 0);
    tensor_add(&s, "bias", 1, 1, 0);
    return s;
}

static struct sample linear(void)
{
    struct sample s = {"linear", "2", "0", "off", "", {1, -2}, {0}, NULL, NULL};
    tensor_add(&s, "weight", 1, 2, 0);
    return s;
}

/* class scores (x0, x1, 0) + (0, 0, 0.25) */
static struct sample softmax(void)
{
    struct sample s = {"softmax", "2", "3", "on", "-1.5,3,7", {1, 0, 0, 0, 1, 0, 0, 0}, {0}, NULL, NULL};
    tensor_add(&s, "weight", 2, 2, 3);
    tensor_add(&s, "bias", 1, 2, 0);
    s.tensors.list[1].shape[0] = s.tensors.list[1].elems = 3;
    return s;
}

static const char *output_read(void)
{
    static char text[4096];
    FILE *file = fopen(out_path, "rb");
    cr_assert_not_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

static dp_err eval(double l2, bool json, dp_error *err)
{
    struct model_terms terms = {.regularizers.l2 = {.count = l2 > 0, .list = {{.value = l2}}}};
    struct eval_options opts = {.model_path = model_path, .source = {.path = data_path}, .terms = &terms, .json = json};
    opts.out = fopen(out_path, "wb");
    cr_assert_not_null(opts.out);
    dp_err e = eval_run(&opts, err);
    fclose(opts.out);
    return e;
}

static dp_err predict(bool scores, dp_error *err)
{
    struct predict_options opts = {
        .model_path = model_path, .source = {.path = data_path}, .output = out_path, .scores = scores};
    return predict_run(&opts, err);
}

static void data_make(const char *text)
{
    file_make(data_path, text, strlen(text));
}

TestSuite(eval, .init = begin, .fini = end);
TestSuite(predict, .init = begin, .fini = end);

static double number_of(const json_t *object, const char *key)
{
    cr_assert(json_is_number(json_object_get(object, key)), "%s", key);
    return json_number_value(json_object_get(object, key));
}

/* Keys of the result, besides those that every last object has. */
static json_t *eval_json(double l2, size_t keys)
{
    enum { END_KEYS = 5 }; /* event, step, complete, reason, exit_code */
    dp_error err = {0};
    cr_assert_eq(eval(l2, true, &err), DP_OK, "%s", err.text);
    const char *text = output_read();
    cr_assert_eq(strcspn(text, "\n"), strlen(text) - 1, "more than a line");
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    cr_assert_not_null(object, "%s", text);
    cr_assert_eq(json_object_size(object), keys + END_KEYS, "%s", text);
    return object;
}

static void assert_near(double a, double b)
{
    cr_assert(fabs(a - b) <= 1e-7 * fabs(b), "%.12g is not %.12g", a, b);
}

Test(eval, logistic)
{
    struct sample s = logistic();
    model_make(&s);
    data_make("1 1:1\n0 2:1\n1 2:2\n"); /* scores 1.5, -1.5, -3.5 */
    json_t *object = eval_json(0.2, 7);
    double loss = (2 * log1p(exp(-1.5)) + log1p(exp(3.5))) / 3;
    assert_near(number_of(object, "rows"), 3);
    assert_near(number_of(object, "loss"), loss);
    assert_near(number_of(object, "objective"), loss + 0.1 * (1 + 4));
    assert_near(number_of(object, "accuracy"), 2.0 / 3);
    json_decref(object);
    dp_error err = {0};
    cr_assert_eq(eval(0.2, false, &err), DP_OK);
    const char *text = output_read();
    cr_assert(strstr(text, "logistic, 2 features") && strstr(text, "accuracy   66.67 % (2 of 3)"), "%s", text);
    cr_assert_not_null(strstr(text, "objective"));
}

/* The method by which a constraint was met in training is not asked: these can only be projected. */
Test(eval, constraints_on_rows)
{
    static const struct {
        const char *text;
        double norm;
    } CASES[] = {{"max-norm=2", 2}, {"unit-norm", 1}};
    struct sample s = logistic();
    model_make(&s);
    data_make("1 1:1\n0 2:1\n");
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct option_list none = {0}, constraint = {.values = (const char *[]){CASES[i].text}, .count = 1};
        struct model_terms terms;
        dp_error err = {0};
        cr_assert_eq(model_terms_init(&terms, &none, &none, &none, 0, &constraint, &err), DP_OK, "%s", err.text);
        struct eval_options opts = {
            .model_path = model_path, .source = {.path = data_path}, .terms = &terms, .json = true};
        opts.out = fopen(out_path, "wb");
        cr_assert_eq(eval_run(&opts, &err), DP_OK, "%s", err.text);
        fclose(opts.out);
        json_t *object = json_loads(output_read(), JSON_REJECT_DUPLICATES, NULL);
        assert_near(number_of(object, "violation"), sqrt(5) - CASES[i].norm);
        json_decref(object);
        model_terms_fini(&terms);
    }
}

Test(eval, linear)
{
    struct sample s = linear();
    model_make(&s);
    data_make("1 1:1\n0 2:1\n"); /* values 1, -2 */
    json_t *object = eval_json(0, 4);
    assert_near(number_of(object, "loss"), 1);
    assert_near(number_of(object, "objective"), 1);
    assert_near(number_of(object, "rmse"), sqrt(2));
    json_decref(object);
}

Test(eval, softmax_dense)
{
    struct sample s = softmax();
    s.theta[2] = 0;
    model_make(&s);
    data_make("label,a,b\n-1.5,2,1\n3,0,1\n7,1,0\n");
    json_t *object = eval_json(0, 5);
    cr_assert_str_eq(json_string_value(json_object_get(object, "label_column")), "label");
    assert_near(number_of(object, "accuracy"), 2.0 / 3);
    double loss = log(exp(2) + exp(1) + 1) - 2 + log(2 + exp(1)) - 1 + log(2 + exp(1));
    assert_near(number_of(object, "loss"), loss / 3);
    json_decref(object);
}

Test(eval, quiet_prints_nothing_for_people)
{
    struct sample s = linear();
    model_make(&s);
    data_make("1 1:1\n");
    dp_error err = {0};
    struct eval_options opts = {.model_path = model_path, .source = {.path = data_path}, .quiet = true};
    opts.out = fopen(out_path, "wb");
    cr_assert_eq(eval_run(&opts, &err), DP_OK);
    fclose(opts.out);
    cr_assert_str_eq(output_read(), "");
}

Test(eval, of_more_rows_than_a_run)
{
    struct sample s = linear();
    model_make(&s);
    FILE *file = fopen(data_path, "wb");
    for (int i = 0; i < 5000; i++)
        fprintf(file, "%d 1:%d\n", i, i + 2);
    fclose(file);
    json_t *object = eval_json(0, 4);
    assert_near(number_of(object, "rows"), 5000);
    assert_near(number_of(object, "rmse"), 2);
    json_decref(object);
    dp_error err = {0};
    cr_assert_eq(predict(false, &err), DP_OK);
    file = fopen(out_path, "rb");
    for (int i = 0, value; i < 5000; i++)
        cr_assert(fscanf(file, "%d", &value) == 1 && value == i + 2, "row %d", i);
    fclose(file);
}

Test(eval, output_that_cannot_be_written)
{
    struct sample s = linear();
    model_make(&s);
    data_make("1 1:1\n");
    dp_error err = {0};
    struct eval_options opts = {.model_path = model_path, .source = {.path = data_path}};
    opts.out = fopen("/dev/full", "wb");
    if (!opts.out)
        cr_skip_test("/dev/full is absent");
    cr_assert_eq(eval_run(&opts, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "cannot be written: No space left"), "%s", err.text);
    fclose(opts.out);
}

Test(predict, labels_and_probabilities)
{
    dp_error err = {0};
    struct sample s = logistic();
    model_make(&s);
    data_make("1 1:1\n0 2:1\n0 2:0.25\n"); /* scores 1.5, -1.5, 0 */
    cr_assert_eq(predict(false, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(output_read(), "1\n0\n0\n");
    cr_assert_eq(predict(true, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(output_read(), "1\t0.182425524\t0.817574476\n0\t0.817574476\t0.182425524\n0\t0.5\t0.5\n");
    s = linear();
    model_make(&s);
    cr_assert_eq(predict(true, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(output_read(), "1\n-2\n-0.5\n");
    s = softmax();
    model_make(&s);
    data_make("y,a,b\n0,2,1\n0,0,1\n0,-1,-1\n0,1,1\n0,-3e38,3e38\n");
    cr_assert_eq(predict(false, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(output_read(), "-1.5\n3\n7\n-1.5\n3\n");
    cr_assert_eq(predict(true, &err), DP_OK, "%s", err.text);
    cr_assert_not_null(strstr(output_read(), "3\t0\t1\t0\n"), "%s", output_read());
}

/* As the job's first worker found them in its file. */
Test(predict, labels_are_printed_as_they_were_written)
{
    static const struct {
        const char *labels, *lines, *json;
    } CASES[] = {
        {"-1,+1", "+1\n-1\n", "{\"label\":1,\"scores\":{\"-1\":0.182425524,\"1\":0.817574476}}\n"},
        {"0.1,1.0", "1.0\n0.1\n", "{\"label\":1.0,\"scores\":{\"0.1\":"},
        {"16777216,16777217", "16777217\n16777216\n", "{\"label\":16777217,\"scores\":{\"16777216\":"},
        {"7,9007199254740993", "9007199254740993\n7\n", "{\"label\":\"9007199254740993\",\"scores\":{\"7\":"},
        {"no,yes", "yes\nno\n", "{\"label\":\"yes\",\"scores\":{\"no\":0.182425524,\"yes\":"},
        {"\"a, \"\"b\"\"\",b\\c", "b\\c\na, \"b\"\n", "{\"label\":\"b\\\\c\",\"scores\":{\"a, \\\"b\\\"\":"},
    };
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        dp_error err = {0};
        struct sample s = logistic();
        s.labels = CASES[i].labels;
        model_make(&s);
        data_make("what 1:1\n1e999 2:1\n"); /* scores 1.5, -1.5; labels are passed over */
        cr_assert_eq(predict(false, &err), DP_OK, "%s", err.text);
        cr_assert_str_eq(output_read(), CASES[i].lines);
        struct predict_options opts = {
            .model_path = model_path, .source = {.path = data_path}, .output = out_path, .scores = true, .json = true};
        cr_assert_eq(predict_run(&opts, &err), DP_OK, "%s", err.text);
        cr_assert_eq(strncmp(output_read(), CASES[i].json, strlen(CASES[i].json)), 0, "%s", output_read());
    }
    ASSERT_NO_LEAKS();
}

/* A model of words on words, and of -1, 1 on 0, 1. */
Test(eval, labels_of_any_kind)
{
    static const char *const CASES[][2] = {{"no,yes", "yes 1:1\nno 2:1\nyes 2:1\n"},
                                           {"-1,1", "1 1:1\n0 2:1\n1 2:1\n"},
                                           {"0,1", "+1 1:1\n-1 2:1\n+1 2:1\n"},
                                           {"2,4.0", "4 1:1\n2 2:1\n4 2:1\n"}};
    for (size_t i = 0; i < ARRAY_LEN(CASES); i++) {
        struct sample s = logistic();
        s.labels = CASES[i][0];
        model_make(&s);
        data_make(CASES[i][1]);
        json_t *object = eval_json(0, 4);
        assert_near(number_of(object, "accuracy"), 2.0 / 3);
        json_decref(object);
    }
    struct sample s = logistic();
    s.labels = "2,4";
    model_make(&s);
    data_make("4 1:1\n3 1:1\n");
    dp_error err = {0};
    cr_assert_eq(eval(0, true, &err), DP_MODEL);
    cr_assert_not_null(strstr(err.text, ":2: label '3' is none of the model's (2, 4)"), "%s", err.text);
}

Test(predict, an_object_for_each_row)
{
    dp_error err = {0};
    struct sample s = logistic();
    struct predict_options opts = {
        .model_path = model_path, .source = {.path = data_path}, .output = out_path, .json = true};
    model_make(&s);
    data_make("1 1:1\n0 2:1\n"); /* scores 1.5, -1.5 */
    cr_assert_eq(predict_run(&opts, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(output_read(), "{\"label\":1}\n{\"label\":0}\n");
    opts.scores = true;
    cr_assert_eq(predict_run(&opts, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(output_read(), "{\"label\":1,\"scores\":{\"0\":0.182425524,\"1\":0.817574476}}\n"
                                    "{\"label\":0,\"scores\":{\"0\":0.817574476,\"1\":0.182425524}}\n");
    s = linear();
    model_make(&s);
    data_make("1 1:1\n0 2:-3e38\n"); /* the second is more than a float can be */
    cr_assert_eq(predict_run(&opts, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(output_read(), "{\"value\":1}\n{\"value\":null}\n");
}

Test(predict, to_a_pipe_or_device_without_replacing_it)
{
    struct sample s = linear();
    model_make(&s);
    data_make("1 1:1\n");
    dp_error err = {0};
    struct predict_options opts = {.model_path = model_path, .source = {.path = data_path}, .output = "/dev/null"};
    cr_assert_eq(predict_run(&opts, &err), DP_OK, "%s", err.text);
    struct stat st;
    cr_assert(stat("/dev/null", &st) == 0 && S_ISCHR(st.st_mode));
    opts.output = folder;
    cr_assert_eq(predict_run(&opts, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "names a folder"), "%s", err.text);
}

Test(predict, theta_is_found_by_name_whatever_the_order)
{
    struct sample s = {"logistic", "2", "0", "on", "-1,1", {0.5f, 1, -2}, {0}, NULL, NULL};
    tensor_add(&s, "bias", 1, 1, 0);
    tensor_add(&s, "weight", 1, 2, 0);
    model_make(&s);
    data_make("1 1:1\n1 2:1\n");
    dp_error err = {0};
    cr_assert_eq(predict(false, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(output_read(), "1\n-1\n");
}

/* Mistakes in model or data, and their messages. */

static void assert_refused_as(dp_err code, struct sample *s, const char *says)
{
    dp_error err = {0};
    model_make(s);
    file_make(out_path, "old", 3);
    cr_assert_eq(predict(false, &err), code, "%s", err.text);
    cr_assert_not_null(strstr(err.text, says), "'%s' does not say '%s'", err.text, says);
    cr_assert_str_eq(output_read(), "old");
    cr_assert_eq(eval(0, false, &err), code);
}

static void assert_refused(struct sample *s, const char *says)
{
    assert_refused_as(DP_MODEL, s, says);
}

Test(predict, refuses_models_that_contradict_themselves)
{
    data_make("0 1:1\n");
#define REFUSED(make, change, says) \
    do {                            \
        struct sample s = make;     \
        change;                     \
        assert_refused(&s, says);   \
    } while (0)
    REFUSED(logistic(), s.model = NULL, "its metadata have no 'model'");
    REFUSED(logistic(), s.model = "free", "knows the program that trained it");
    REFUSED(logistic(), s.model = "tree", "its metadata have 'model' = 'tree'");
    REFUSED(logistic(), s.features = NULL, "no 'features'");
    REFUSED(logistic(), s.features = "0", "'features' = '0'");
    REFUSED(logistic(), s.features = "2x", "'features' = '2x'");
    REFUSED(logistic(), s.features = "-2", "'features' = '-2'");
    REFUSED(logistic(), s.features = "99999999999999999999999", "'features' = '9999");
    REFUSED(logistic(), s.features = "3", "has 3 parameters, but its metadata need 4");
    REFUSED(logistic(), s.features = "1", "the shape of tensor 'weight' does not fit");
    REFUSED(logistic(), s.features = "1099511627776", "2^40");
    REFUSED(logistic(), s.classes = "2", "a logistic model cannot have 2 classes");
    REFUSED(logistic(), s.classes = "4294967296", "'classes' = '4294967296'");
    REFUSED(logistic(), s.intercept = "yes", "'intercept' = 'yes'");
    REFUSED(logistic(), s.intercept = "off", "has 2 tensors, but a logistic model without intercept has 1");
    REFUSED(linear(), s.intercept = "on", "has 1 tensors, but a linear model with intercept has 2");
    REFUSED(logistic(), s.labels = NULL, "no 'labels'");
    REFUSED(logistic(), s.labels = "", "'labels' = ''");
    REFUSED(logistic(), s.labels = "1,0", "'labels' = '1,0'");
    REFUSED(logistic(), s.labels = "0,1,", "'labels' = '0,1,'");
    REFUSED(logistic(), s.labels = "0 1", "1 labels for 2 classes");
    REFUSED(logistic(), s.labels = "yes,no", "'labels' = 'yes,no'");
    REFUSED(logistic(), s.labels = "yes,1", "'labels' = 'yes,1'");
    REFUSED(logistic(), s.labels = "1,1.0", "'labels' = '1,1.0'");
    REFUSED(logistic(), s.labels = "0,\"a", "'labels' = '0,\"a'");
    REFUSED(logistic(), s.labels = "0,nan", "'labels' = '0,nan'");
    REFUSED(logistic(), s.labels = "0,1,2", "3 labels for 2 classes");
    REFUSED(softmax(), s.classes = "1", "a softmax model cannot have 1 classes");
    REFUSED(softmax(), s.labels = "0,1", "2 labels for 3 classes");
    REFUSED(logistic(), s.hash_bits = "1", "no 'hash_seed'");
    REFUSED(logistic(), s.hash_seed = "1", "no 'hash_bits'");
    REFUSED(logistic(), (s.hash_bits = "2", s.hash_seed = "1"), "'hash_bits' = '2'");
    REFUSED(logistic(), (s.hash_bits = "32", s.hash_seed = "1"), "'hash_bits' = '32'");
    REFUSED(logistic(), (s.hash_bits = "1", s.hash_seed = "-1"), "'hash_seed' = '-1'");
    REFUSED(logistic(), s.theta[2] = NAN, "element 0 of tensor 'bias' is not finite: its training diverged");
    REFUSED(logistic(), s.tensors.list[1].name[0] = 'B', "has no tensor 'bias'");
}

/* weight (1, -2) of x1 and x2 */
Test(predict, finds_the_columns_of_the_training_data)
{
    static const char *const META[] = {
        "data_format",  "csv", "feature_names",   "[\"x1\",\"x2\"]", "label_name", "t", "csv_columns", "4",
        "label_column", "3",   "ignored_columns", "[\"id\"]",        NULL};
    static const char *const FILES[] = {"x1,x2,t\n1,2,7\n3,0.5,7\n", "t,x2,x1\n7,2,1\n7,0.5,3\n", "x2,x1\n2,1\n0.5,3\n",
                                        "id,x2,x1\na,2,1\n,0.5,3\n"};
    dp_error err = {0};
    struct sample s = linear();
    data_meta = META;
    model_make(&s);
    for (size_t i = 0; i < ARRAY_LEN(FILES); i++) {
        data_make(FILES[i]);
        cr_assert_eq(predict(false, &err), DP_OK, "%s", err.text);
        cr_assert_str_eq(output_read(), "-3\n2\n");
    }
    data_make("x1,x2,t\n1,2,-3\n3,0.5,2\n");
    json_t *object = eval_json(0, 5);
    cr_assert_str_eq(json_string_value(json_object_get(object, "label_column")), "t");
    cr_assert_eq(number_of(object, "rmse"), 0);
    json_decref(object);
    data_make("x2,x1\n1,2\n");
    cr_assert_eq(eval(0, false, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "has no column 't'"), "%s", err.text);
    data_meta = (const char *const[]){"data_format", "csv", "csv_columns", "3", "label_column", "0", NULL};
    model_make(&s);
    data_make("7,1,2\n7,3,0.5\n");
    cr_assert_eq(predict(false, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(output_read(), "-3\n2\n");
    data_make("1,2\n3,0.5\n");
    cr_assert_eq(predict(false, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(output_read(), "-3\n2\n");
    data_meta = NULL;
}

Test(predict, refuses_columns_that_do_not_fit_the_model)
{
    static const struct {
        const char *key, *value;
    } BAD[] = {
        {"data_format", "tsv"},
        {"feature_names", "[\"x1\"]"},
        {"feature_names", "[\"x1\",\"x1\"]"},
        {"feature_names", "[\"x1\",\"\"]"},
        {"feature_names", "[\"x1\",\"t\"]"},
        {"feature_names", "x1,x2"},
        {"label_name", "a\nb"},
        {"label_column", "4"},
        {"label_column", "-1"},
        {"csv_columns", "four"},
        {"ignored_columns", "[1]"},
    };
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        struct sample s = linear();
        const char *meta[] = {
            "data_format",  "csv", "feature_names", "[\"x1\",\"x2\"]", "label_name", "t", "csv_columns", "4",
            "label_column", "3",   BAD[i].key,      BAD[i].value,      NULL};
        data_meta = meta;
        data_make("x1,x2,t\n1,2,3\n");
        assert_refused(&s, "its metadata have '");
    }
    data_meta = NULL;
}

Test(predict, takes_rows_without_labels)
{
    dp_error err = {0};
    struct sample s = logistic();
    model_make(&s);
    struct predict_options opts = {
        .model_path = model_path, .source = {.path = data_path, .unlabelled = true}, .output = out_path};
    static const char *const FILES[] = {"1:1\n2:1\n", "9 1:1\n9 2:1\n", "1,0\n0,1\n"};
    for (size_t i = 0; i < ARRAY_LEN(FILES); i++) {
        data_make(FILES[i]);
        cr_assert_eq(predict_run(&opts, &err), DP_OK, "%s", err.text);
        cr_assert_str_eq(output_read(), "1\n0\n");
    }
    data_make("0,1,0\n");
    cr_assert_eq(predict_run(&opts, &err), DP_DATA);
    cr_assert_not_null(strstr(err.text, "if its rows have a label, leave --no-labels away"), "%s", err.text);
}

Test(predict, refuses_data_of_another_kind)
{
    dp_error err = {0};
    struct sample s = logistic();
    data_make("0 3:1\n");
    assert_refused_as(DP_DATA, &s, "d:1: index 3, but the model ");
    assert_refused_as(DP_DATA, &s, "--extra-features ignore");
    data_make("y,a,b,c\n0,1,2,3\n");
    assert_refused_as(DP_DATA, &s, "has 3 features, but the model ");
    data_make("y,a\n0,1\n");
    assert_refused_as(DP_DATA, &s, "if its rows have no label, predict takes them with --no-labels");
    data_make("0 1:1\n"); /* sparse data may be narrower */
    cr_assert_eq(predict(false, &err), DP_OK, "%s", err.text);
    data_make("0 1:1\n5 1:1\n");
    cr_assert_eq(eval(0, false, &err), DP_MODEL);
    cr_assert_not_null(strstr(err.text, ":2: label '5' is none of the model's (0, 1)"), "%s", err.text);
    data_make("0 1:x\n");
    cr_assert_eq(eval(0, false, &err), DP_DATA);
    unlink(data_path);
    cr_assert_eq(eval(0, false, &err), DP_IO);
    unlink(model_path);
    cr_assert_eq(eval(0, false, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "/m: cannot be opened"), "%s", err.text);
    file_make(model_path, "text", 4);
    cr_assert_eq(eval(0, false, &err), DP_DATA);
}
