/* Schema of a data set; see schema.h. Thread: any. */
#include "common/tensor/schema.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"

void schema_fini(struct schema *schema)
{
    free(schema->names);
    free(schema->label);
    free(schema->ignored);
    *schema = (struct schema){0};
}

char **schema_list_copy(char *const *list, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += strlen(list[i]) + 1;
    char **copy = count < SIZE_MAX / 16 ? mem_array(count * sizeof *copy + bytes, 1) : NULL;
    char *at = (char *)(copy + count);
    for (size_t i = 0; copy && i < count; i++) {
        copy[i] = at;
        at = stpcpy(at, list[i]) + 1;
    }
    return copy;
}

dp_err schema_copy(const struct schema *from, struct schema *ret_schema)
{
    struct schema copy = *from;
    copy.names = from->names ? schema_list_copy(from->names, from->count) : NULL;
    copy.label = from->label ? strdup(from->label) : NULL;
    copy.ignored = from->ignored ? schema_list_copy(from->ignored, from->ignored_count) : NULL;
    if (!copy.names != !from->names || !copy.label != !from->label || !copy.ignored != !from->ignored) {
        schema_fini(&copy);
        return DP_NOMEM;
    }
    *ret_schema = copy;
    return DP_OK;
}

char *schema_list_text(char *const *list, size_t count)
{
    json_t *array = json_array();
    bool good = array != NULL;
    for (size_t i = 0; good && i < count; i++)
        good = json_array_append_new(array, json_string(list[i])) == 0;
    char *text = good ? json_dumps(array, JSON_COMPACT) : NULL;
    json_decref(array);
    return text;
}

static bool is_name(const json_t *value)
{
    size_t bytes = json_string_length(value);
    return json_is_string(value) && bytes <= SCHEMA_NAME_BYTES_MAX && text_printable(json_string_value(value), bytes);
}

char **schema_list_parse(const char *text, size_t max, size_t *ret_count)
{
    json_t *array = json_loads(text, 0, NULL);
    size_t count = json_array_size(array);
    bool good = json_is_array(array) && count <= max;
    AUTOFREE char **list = good ? mem_array(count, sizeof *list) : NULL;
    for (size_t i = 0; list && good && i < count; i++) {
        good = is_name(json_array_get(array, i));
        list[i] = (char *)json_string_value(json_array_get(array, i));
    }
    char **copy = list && good ? schema_list_copy(list, count) : NULL;
    json_decref(array);
    if (copy)
        *ret_count = count;
    return copy;
}

static int by_text(const void *a, const void *b, void *list)
{
    char *const *texts = list;
    return strcmp(texts[*(const uint64_t *)a], texts[*(const uint64_t *)b]);
}

uint64_t *schema_sort(char *const *list, size_t count)
{
    uint64_t *sorted = mem_array(count, sizeof *sorted);
    for (size_t i = 0; sorted && i < count; i++)
        sorted[i] = i;
    if (sorted)
        qsort_r(sorted, count, sizeof *sorted, by_text, (void *)list);
    return sorted;
}

bool schema_find(char *const *list, const uint64_t *sorted, size_t count, const char *name, uint64_t *ret_at)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(list[sorted[middle]], name);
        if (order == 0) {
            *ret_at = sorted[middle];
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

bool schema_names_label(const char *name)
{
    static const char *const NAMES[] = {"label", "target", "class", "y"};
    for (size_t i = 0; i < ARRAY_LEN(NAMES); i++)
        if (strcasecmp(name, NAMES[i]) == 0)
            return true;
    return false;
}

char *schema_label_text(const char *name, uint64_t at, char buf[SCHEMA_LABEL_TEXT_BYTES])
{
    size_t used = 0;
    buf[0] = '\0';
    if (!name) {
        (void)str_append(buf, SCHEMA_LABEL_TEXT_BYTES, &used, "column %" PRIu64, at);
        return buf;
    }
    char cut[SCHEMA_LABEL_TEXT_BYTES - 24];
    text_clean(cut, sizeof cut, name);
    (void)str_append(buf, SCHEMA_LABEL_TEXT_BYTES, &used, "column '%s%s'", cut,
                     strlen(name) >= sizeof cut ? "..." : "");
    return buf;
}

const char *schema_format_name(enum schema_format format)
{
    static const char *const NAMES[] = {NULL, "libsvm", "csv", "idx"};
    return format < ARRAY_LEN(NAMES) ? NAMES[format] : NULL;
}
