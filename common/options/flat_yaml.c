/* The flat YAML file: one map of scalars and sequences of scalars. Things that a flat file has no use for (nested maps,
 * anchors, aliases, tags, further documents) are errors that name the line, so nothing in a file is ignored in silence.
 * Works on libyaml's events; state is where in the one map we are. Thread: any. */
#include "common/options/flat_yaml.h"

#include <string.h>
#include <yaml.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "common/options/nearest.h"
#include "common/options/table.h"

/* Events that may come next. */
enum yaml_place {
    AT_ROOT,  /* the map, or nothing */
    AT_KEY,   /* a key or the map's end */
    AT_VALUE, /* a scalar or a sequence */
    AT_ITEM,  /* a scalar or the sequence's end */
    AT_END,   /* the map is closed, or the document was empty */
};

struct yaml_reader {
    const char *name;
    const struct yaml_sink *sink;
    enum yaml_place place;
    size_t key_line;
    char key[OPTION_NAME_MAX]; /* for messages; cut if longer */
};

static size_t event_line(const yaml_event_t *event)
{
    return event->start_mark.line + 1;
}

static dp_err yaml_fail(const struct yaml_reader *reader, size_t line, dp_error *err, const char *what)
{
    return dp_fail(err, DP_USAGE, "%.200s:%zu: %s", reader->name, line, what);
}

/* Neither anchor nor tag. */
static dp_err check_bare(const struct yaml_reader *reader, const void *anchor, const void *tag, size_t line,
                         dp_error *err)
{
    if (anchor)
        return yaml_fail(reader, line, err, "anchors are not supported in a flat file");
    return tag ? yaml_fail(reader, line, err, "tags are not supported in a flat file") : DP_OK;
}

/* A key that stands alone ("lr:"), "~" and "null" are plain scalars that mean "nothing". */
static bool scalar_is_null(const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static dp_err on_key(struct yaml_reader *reader, const yaml_event_t *event, dp_error *err)
{
    if (!str_copy(reader->key, sizeof reader->key, (const char *)event->data.scalar.value))
        return yaml_fail(reader, event_line(event), err, "a key is too long to be an option's name");
    reader->key_line = event_line(event);
    reader->place = AT_VALUE;
    return DP_OK;
}

/* A scalar as the value of a key, or as an item of its sequence. */
static dp_err on_value(struct yaml_reader *reader, const yaml_event_t *event, dp_error *err)
{
    const struct yaml_sink *sink = reader->sink;
    char buf[OPTION_SHOWN_MAX];
    if (scalar_is_null(event))
        return dp_fail(err, DP_USAGE, "%.200s:%zu: %s: has no value; give one or leave the key out", reader->name,
                       event_line(event), option_shown(reader->key, buf));
    dp_err e = DP_OK;
    if (reader->place == AT_VALUE) {
        reader->place = AT_KEY;
        e = sink->key(sink->arg, reader->key, false, reader->key_line, err);
    }
    return e ? e : sink->value(sink->arg, (const char *)event->data.scalar.value, event_line(event), err);
}

static dp_err on_scalar(struct yaml_reader *reader, const yaml_event_t *event, dp_error *err)
{
    size_t line = event_line(event);
    dp_err e = check_bare(reader, event->data.scalar.anchor, event->data.scalar.tag, line, err);
    if (e)
        return e;
    if (strlen((const char *)event->data.scalar.value) != event->data.scalar.length)
        return yaml_fail(reader, line, err, "a text holds a NUL character");
    switch (reader->place) {
    case AT_ROOT:
        reader->place = AT_END;
        return scalar_is_null(event) ? DP_OK : yaml_fail(reader, line, err, "expected lines of 'option: value'");
    case AT_KEY:
        return on_key(reader, event, err);
    case AT_VALUE:
    case AT_ITEM:
        return on_value(reader, event, err);
    case AT_END:
        break;
    }
    return yaml_fail(reader, line, err, "text after the end of the map");
}

static dp_err on_sequence(struct yaml_reader *reader, const yaml_event_t *event, dp_error *err)
{
    size_t line = event_line(event);
    dp_err e = check_bare(reader, event->data.sequence_start.anchor, event->data.sequence_start.tag, line, err);
    if (e)
        return e;
    if (reader->place != AT_VALUE)
        return yaml_fail(reader, line, err,
                         reader->place == AT_ITEM ? "a list within a list" : "expected lines of 'option: value'");
    reader->place = AT_ITEM;
    return reader->sink->key(reader->sink->arg, reader->key, true, reader->key_line, err);
}

static dp_err on_mapping(struct yaml_reader *reader, const yaml_event_t *event, dp_error *err)
{
    size_t line = event_line(event);
    dp_err e = check_bare(reader, event->data.mapping_start.anchor, event->data.mapping_start.tag, line, err);
    if (e)
        return e;
    if (reader->place != AT_ROOT)
        return yaml_fail(reader, line, err, "a map within the map: the file is flat, 'option: value' a line");
    reader->place = AT_KEY;
    return DP_OK;
}

static dp_err on_event(struct yaml_reader *reader, const yaml_event_t *event, dp_error *err)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return yaml_fail(reader, event_line(event), err, "aliases are not supported in a flat file");
    case YAML_DOCUMENT_START_EVENT:
        if (reader->place == AT_END)
            return yaml_fail(reader, event_line(event), err, "a second document; a file has one");
        return DP_OK;
    case YAML_SCALAR_EVENT:
        return on_scalar(reader, event, err);
    case YAML_SEQUENCE_START_EVENT:
        return on_sequence(reader, event, err);
    case YAML_SEQUENCE_END_EVENT:
        reader->place = AT_KEY;
        return DP_OK;
    case YAML_MAPPING_START_EVENT:
        return on_mapping(reader, event, err);
    case YAML_MAPPING_END_EVENT:
        reader->place = AT_END;
        return DP_OK;
    default:
        return DP_OK;
    }
}

/* libyaml gives a byte offset, not a line, for text that is not UTF-8. */
static size_t line_of_offset(const char *text, size_t bytes, size_t offset)
{
    size_t line = 1;
    for (size_t i = 0; i < MIN(bytes, offset); i++)
        line += text[i] == '\n';
    return line;
}

static dp_err syntax_error(const char *name, const yaml_parser_t *parser, const char *text, size_t bytes, dp_error *err)
{
    const char *problem = parser->problem ? parser->problem : "it cannot be read";
    if (parser->error == YAML_MEMORY_ERROR)
        return dp_fail(err, DP_NOMEM, "%.200s: out of memory", name);
    if (parser->error == YAML_READER_ERROR)
        return dp_fail(err, DP_USAGE, "%.200s:%zu: %s", name, line_of_offset(text, bytes, parser->problem_offset),
                       problem);
    return dp_fail(err, DP_USAGE, "%.200s:%zu: bad YAML: %s%s%s", name, parser->problem_mark.line + 1, problem,
                   parser->context ? " " : "", parser->context ? parser->context : "");
}

dp_err options_yaml_read(const char *name, const void *text, size_t bytes, const struct yaml_sink *sink, dp_error *err)
{
    struct yaml_reader reader = {.name = name, .sink = sink};
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return dp_fail(err, DP_NOMEM, "%.200s: out of memory", name);
    yaml_parser_set_input_string(&parser, text, bytes);
    dp_err e = DP_OK;
    for (bool end = false; !e && !end;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&parser, &event)) {
            e = syntax_error(name, &parser, text, bytes, err);
            break;
        }
        e = on_event(&reader, &event, err);
        end = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return e;
}
