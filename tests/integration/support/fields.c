/* Documents against tables. Thread: the test's. */
#include "tests/integration/support/fields.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "server/options/fields.h"
#include "worker/ctl/fields.h"
#include "worker/run/fields.h"

enum { PLACE_MAX = 128 };

/* One walk over a document. */
struct walk {
    const struct field_table *table;
    struct fields_seen *seen;
    char *buf;
};

static const char *problem_object(const struct walk *walk, const char *place, const json_t *object);

static bool place_in(const char *places, const char *place)
{
    size_t length = strlen(place);
    for (const char *at = places; (at = strstr(at, place)); at += length)
        if ((at == places || at[-1] == ' ') && (at[length] == '\0' || at[length] == ' '))
            return true;
    return false;
}

static const struct field *find(const struct walk *walk, const char *place, const char *name)
{
    for (size_t i = 0; i < walk->table->count; i++) {
        const struct field *field = &walk->table->list[i];
        if (!field->name || strcmp(field->name, name) != 0 || !place_in(field->places, place))
            continue;
        if (walk->seen)
            walk->seen->member[i] = true;
        return field;
    }
    return NULL;
}

static unsigned type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_INTEGER:
        return FIELD_INTEGER;
    case JSON_REAL:
        return FIELD_NUMBER;
    case JSON_STRING:
        return FIELD_TEXT;
    case JSON_TRUE:
    case JSON_FALSE:
        return FIELD_BOOLEAN;
    case JSON_OBJECT:
        return FIELD_OBJECT;
    case JSON_NULL:
        return FIELD_NULL;
    default:
        return FIELD_LIST;
    }
}

static const char *say(const struct walk *walk, const char *place, const char *name, const char *what)
{
    snprintf(walk->buf, FIELDS_TEXT, "%s: %s: %s", place, name, what);
    return walk->buf;
}

/* A value that is no list; a whole number may stand for any. */
static const char *problem_one(const struct walk *walk, const char *place, const struct field *field, unsigned type,
                               const char *inner, const json_t *value)
{
    unsigned is = type_of(value), allowed = type | (type & FIELD_NUMBER ? FIELD_INTEGER : 0);
    if (!(is & allowed)) {
        char what[FIELDS_TEXT / 2], text[64];
        snprintf(what, sizeof what, "is not of the type '%s'", field_type_text(field->type, text, sizeof text));
        return say(walk, place, field->name, what);
    }
    return is == FIELD_OBJECT ? problem_object(walk, inner, value) : NULL;
}

static const char *problem_value(const struct walk *walk, const char *place, const struct field *field,
                                 const json_t *value)
{
    const unsigned type = field->type & ~(unsigned)(FIELD_LIST | FIELD_MAP | FIELD_NULL | FIELD_MAYBE);
    char inner[PLACE_MAX];
    bool list = field->type & FIELD_LIST, map = field->type & FIELD_MAP, root = strcmp(place, walk->table->topic) == 0;
    snprintf(inner, sizeof inner, "%s%s%s%s", root ? "" : place, root ? "" : ".", field->name, list ? "[]" : "");
    if (json_is_null(value) && field->type & FIELD_NULL)
        return NULL;
    if (!list && !map)
        return problem_one(walk, place, field, type, inner, value);
    if (list != json_is_array(value) || map != json_is_object(value))
        return say(walk, place, field->name, "is no list or object");
    const char *problem = NULL, *key;
    size_t i;
    json_t *element;
    if (list)
        json_array_foreach(value, i, element) problem =
            problem ? problem : problem_one(walk, place, field, type, inner, element);
    else
        json_object_foreach((json_t *)value, key, element) problem =
            problem ? problem : problem_one(walk, place, field, type, inner, element);
    return problem;
}

static const char *problem_object(const struct walk *walk, const char *place, const json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        const struct field *field = find(walk, place, key);
        const char *problem =
            field ? problem_value(walk, place, field, value) : say(walk, place, key, "not in the table");
        if (problem)
            return problem;
    }
    for (size_t i = 0; i < walk->table->count; i++) {
        const struct field *field = &walk->table->list[i];
        if (field->name && !(field->type & FIELD_MAYBE) && place_in(field->places, place) &&
            !json_object_get(object, field->name))
            return say(walk, place, field->name, "is missing");
    }
    return NULL;
}

const char *fields_problem(const struct field_table *table, const char *place, const json_t *object,
                           struct fields_seen *seen, char buf[FIELDS_TEXT])
{
    cr_assert_leq(table->count, (size_t)FIELDS_MAX);
    return problem_object(&(struct walk){table, seen, buf}, place, object);
}

/* The table that has an object of dp-ctl, by its first member. */
static const struct field_table *ctl_table(const json_t *object, const char **ret_place)
{
    const char *first = json_object_iter_key(json_object_iter((json_t *)object));
    bool status = first && strcmp(first, "version") == 0;
    *ret_place = status ? "status" : first ? first : "";
    return status ? &server_pages[0] : &ctl_pages[0];
}

/* The place of an object of dp-worker: its event, but rows of predict have none, and the commands are done in their own
 * ways. */
static const char *worker_place(const char *command, const char *event)
{
    static const char *const DONE[][2] = {{"eval", "eval"}, {"predict", "predicted"}, {"inspect", "inspect"}};
    if (!event)
        return "predict";
    for (size_t i = 0; command && i < sizeof DONE / sizeof *DONE; i++)
        if (strcmp(command, DONE[i][0]) == 0 && strcmp(event, "done") == 0)
            return DONE[i][1];
    return event;
}

static const char *problem_line(const struct fields_source *source, const char *line, size_t bytes,
                                struct fields_seen *seen, char buf[FIELDS_TEXT])
{
    json_t *object = json_loadb(line, bytes, 0, NULL);
    if (!json_is_object(object)) {
        json_decref(object);
        snprintf(buf, FIELDS_TEXT, "no JSON: %.*s", (int)MIN(bytes, (size_t)80), line);
        return buf;
    }
    const struct field_table *table = &server_pages[1];
    const char *place = json_string_value(json_object_get(object, "event"));
    if (strcmp(source->program, "dp-ctl") == 0) {
        table = ctl_table(object, &place);
    } else if (strcmp(source->program, "dp-worker") == 0) {
        table = &worker_pages[0];
        place = worker_place(source->command, place);
    }
    const char *problem = fields_problem(table, place ? place : "", object, seen, buf);
    json_decref(object);
    return problem;
}

const char *fields_problem_output(const struct fields_source *source, const char *output, struct fields_seen *seen,
                                  char buf[FIELDS_TEXT])
{
    const char *problem = NULL;
    for (const char *end; !problem && (end = strchr(output, '\n')); output = end + 1)
        if (*output == '{')
            problem = problem_line(source, output, (size_t)(end - output), seen, buf);
    return problem;
}

void fields_assert_all(const struct field_table *table, const struct fields_seen *seen, const char *except)
{
    for (size_t i = 0; i < table->count; i++)
        cr_expect(!table->list[i].name || seen->member[i] || (except && strcmp(table->list[i].places, except) == 0),
                  "no document has '%s' of '%s'", table->list[i].name, table->list[i].places);
}
