/* A model or a checkpoint for people; see inspect_table.h. Lines have at most 100 columns but for names. Thread: any.
 */
#include "worker/model/inspect_table.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "common/base/human.h"
#include "common/base/text.h"
#include "common/base/util.h"

enum { TEXT = 256, NAMES_SHOWN = 8, LINE = 100, INDENT = 11 };

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "unknown";
}

static uint64_t number_of(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static double real_of(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

/* ---- the head ---- */

/* "a, b, c, ... (64)" */
static const char *names(const json_t *list, char buf[TEXT])
{
    const size_t count = json_array_size(list);
    size_t at = 0;
    char name[64];
    buf[0] = '\0';
    for (size_t i = 0; i < count && i < NAMES_SHOWN; i++) {
        text_clean(name, sizeof name, json_string_value(json_array_get(list, i)));
        (void)str_append(buf, TEXT, &at, "%s%.20s", i ? ", " : "", name);
    }
    if (count > NAMES_SHOWN)
        (void)str_append(buf, TEXT, &at, ", ... (%zu)", count);
    return buf;
}

static void print_model(const json_t *d, FILE *out)
{
    const uint64_t features = number_of(d, "features"), classes = number_of(d, "classes");
    char list[TEXT], label[64];
    fprintf(out, "%-11s%s\n", text_of(d, "kind"), text_of(d, "path"));
    fprintf(out, "model      %s, %" PRIu64 " feature%s", text_of(d, "model"), features, human_s(features));
    if (classes)
        fprintf(out, ", %" PRIu64 " classes", classes);
    if (json_is_boolean(json_object_get(d, "intercept")))
        fprintf(out, ", %s intercept", json_is_true(json_object_get(d, "intercept")) ? "with" : "without");
    fputc('\n', out);
    if (json_array_size(json_object_get(d, "labels")))
        fprintf(out, "labels     %s\n", names(json_object_get(d, "labels"), list));
    if (!json_is_string(json_object_get(d, "data_format")))
        return;
    fprintf(out, "data       %s", text_of(d, "data_format"));
    const json_t *column = json_object_get(d, "label_column");
    if (json_is_string(column)) {
        text_clean(label, sizeof label, json_string_value(column));
        fprintf(out, ", label column '%s'", label);
    } else if (json_is_integer(column)) {
        fprintf(out, ", label column %" JSON_INTEGER_FORMAT, json_integer_value(column));
    }
    fputc('\n', out);
    if (json_array_size(json_object_get(d, "columns")))
        fprintf(out, "columns    %s\n", names(json_object_get(d, "columns"), list));
}

static void print_training(const json_t *d, FILE *out)
{
    const json_t *checkpoint = json_object_get(d, "checkpoint");
    const uint64_t step = number_of(d, "step"), steps = number_of(checkpoint, "steps");
    const bool diverged = json_is_true(json_object_get(d, "diverged"));
    fprintf(out, "training   step %" PRIu64, step);
    if (steps >= step && steps > 0 && steps < UINT64_C(1) << 40) /* others have no end of their own */
        fprintf(out, " of %" PRIu64, steps);
    fprintf(out, ", %s\n",
            diverged                                       ? "diverged"
            : json_is_true(json_object_get(d, "complete")) ? "finished"
                                                           : "not finished");
    if (json_is_object(checkpoint))
        fprintf(out, "written    %s by dp %s, generation %" PRIu64 "\n", text_of(checkpoint, "written_at"),
                text_of(d, "dp_version"), number_of(checkpoint, "generation"));
    else
        fprintf(out, "written    by dp %s\n", text_of(d, "dp_version"));
}

/* ---- tensors ---- */

static const char *shape_text(const json_t *tensor, char buf[TEXT])
{
    const json_t *shape = json_object_get(tensor, "shape");
    size_t at = 0;
    buf[0] = '\0';
    if (json_is_integer(json_object_get(tensor, "rows")) && strcmp(text_of(tensor, "kind"), "hashed") == 0)
        (void)str_append(buf, TEXT, &at, "*x");
    for (size_t i = 0; i < json_array_size(shape); i++)
        (void)str_append(buf, TEXT, &at, "%s%" JSON_INTEGER_FORMAT, i ? "x" : "",
                         json_integer_value(json_array_get(shape, i)));
    return buf;
}

static void print_tensor(const json_t *t, int width, FILE *out)
{
    char shape[TEXT], nonzeros[HUMAN_MAX], share[HUMAN_MAX], rows[HUMAN_MAX] = "";
    const json_t *touched = json_object_get(t, "rows");
    if (json_is_integer(touched))
        human_count((double)json_integer_value(touched), rows);
    fprintf(out, "%-*s %-7s%-6s%-16s%7s %9s %8s %10.4g %10.4g\n", width, text_of(t, "name"), text_of(t, "kind"),
            text_of(t, "dtype"), shape_text(t, shape), rows, human_count((double)number_of(t, "nonzeros"), nonzeros),
            human_percent(real_of(t, "sparsity"), share), real_of(t, "norm"), real_of(t, "largest"));
    if (number_of(t, "not_finite"))
        fprintf(out, "%-*s %" PRIu64 " elements are no finite numbers\n", width, "", number_of(t, "not_finite"));
}

static void print_tensors(const json_t *d, FILE *out)
{
    const json_t *list = json_object_get(d, "tensors");
    const uint64_t parameters = number_of(d, "parameters");
    int width = (int)strlen("tensor");
    for (size_t i = 0; i < json_array_size(list); i++)
        width = MAX(width, (int)strlen(text_of(json_array_get(list, i), "name")));
    fprintf(out, "parameters %" PRIu64 " in %zu tensor%s\n\n", parameters, json_array_size(list),
            human_s(json_array_size(list)));
    fprintf(out, "%-*s %-7s%-6s%-16s%7s %9s %8s %10s %10s\n", width, "tensor", "kind", "dtype", "shape", "rows",
            "nonzeros", "zero", "norm", "largest");
    for (size_t i = 0; i < json_array_size(list); i++)
        print_tensor(json_array_get(list, i), width, out);
}

/* ---- the checkpoint ---- */

/* Options that were given or have a value, as many to a line as fit. */
static void print_spec(const json_t *checkpoint, FILE *out)
{
    const char *name;
    json_t *value;
    int column = 0;
    fputs("\nspec", out);
    json_object_foreach(json_object_get(checkpoint, "spec"), name, value)
    {
        char text[TEXT];
        const char *given = json_string_value(value);
        if (!given || !given[0])
            continue;
        snprintf(text, sizeof text, "--%s %s", name, given);
        const int length = (int)strlen(text);
        if (column == 0 || column + 2 + length > LINE) {
            fprintf(out, "%s%s", column ? "\n           " : "       ", text);
            column = INDENT + length;
        } else {
            fprintf(out, "  %s", text);
            column += 2 + length;
        }
    }
    fputc('\n', out);
}

static void print_files(const json_t *checkpoint, FILE *out)
{
    const json_t *list = json_object_get(checkpoint, "files");
    char bytes[HUMAN_MAX];
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *file = json_array_get(list, i);
        const char *member = text_of(file, "member");
        fprintf(out, "%-11s%s, %sB%s%s\n", i ? "" : "files", text_of(file, "name"),
                human_count((double)number_of(file, "bytes"), bytes), member[0] ? ", of " : "", member);
    }
}

void inspect_print(const json_t *document, FILE *out)
{
    const json_t *checkpoint = json_object_get(document, "checkpoint");
    print_model(document, out);
    print_training(document, out);
    if (json_is_object(checkpoint))
        print_files(checkpoint, out);
    print_tensors(document, out);
    if (json_is_object(checkpoint))
        print_spec(checkpoint, out);
}
