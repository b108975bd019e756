/* The members of JSON, for people. Thread: any. */
#include "common/options/fields.h"

#include <string.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "common/options/wrap.h"

enum { TEXT_BYTES = 512, TYPE_BYTES = 64, LEFT_MAX = 28 };

static const char REFERENCE[] = "reference ";

const char *field_type_text(unsigned type, char *buf, size_t size)
{
    static const char *const ONE[] = {"integer", "number", "text", "boolean", "object"};
    bool many = type & (FIELD_LIST | FIELD_MAP);
    size_t at = 0;
    if (many)
        str_append(buf, size, &at, "%s of ", type & FIELD_LIST ? "list" : "object");
    const char *before = "";
    for (size_t i = 0; i < ARRAY_LEN(ONE); i++)
        if (type & 1u << i) {
            str_append(buf, size, &at, "%s%s%s", before, ONE[i], many ? "s" : "");
            before = " or ";
        }
    if (type & FIELD_NULL)
        str_append(buf, size, &at, "%snull", before);
    return buf;
}

/* "a, b" of the places "a b". */
static void print_places(const char *places, FILE *out)
{
    for (; *places; places++)
        fprintf(out, *places == ' ' ? ", " : "%c", *places);
}

static bool begins_group(const struct field_table *table, size_t i)
{
    return i == 0 || strcmp(table->list[i].places, table->list[i - 1].places) != 0;
}

/* Columns that names of the members take. */
static size_t left_columns(const struct field_table *table)
{
    size_t columns = 0;
    for (size_t i = 0; i < table->count; i++)
        if (table->list[i].name && strlen(table->list[i].name) <= LEFT_MAX)
            columns = MAX(columns, strlen(table->list[i].name));
    return columns;
}

static void print_field(const struct field *field, size_t columns, FILE *out)
{
    char text[TEXT_BYTES], type[TYPE_BYTES];
    size_t at = 0;
    str_append(text, sizeof text, &at, "%s (%s", field->meaning, field_type_text(field->type, type, sizeof type));
    str_append(text, sizeof text, &at, "%s%s%s)", field->unit ? ", " : "", field->unit ? field->unit : "",
               field->type & FIELD_MAYBE ? ", may be missing" : "");
    fprintf(out, "  %s", field->name);
    size_t column = 2 + strlen(field->name);
    if (column > columns + 2) {
        fputc('\n', out);
        column = 0;
    }
    print_wrapped(out, column, columns + 4, text);
}

static void print_page(const struct option_table *program, const struct field_table *table, FILE *out)
{
    size_t columns = left_columns(table);
    fprintf(out, "%s, %s: %s\n", program->program, table->topic, table->summary);
    for (size_t i = 0; i < table->count; i++) {
        const struct field *field = &table->list[i];
        if (begins_group(table, i)) {
            fputc('\n', out);
            print_places(field->places, out);
            fprintf(out, field->name ? ":\n" : ": %s\n", field->meaning);
        }
        if (field->name)
            print_field(field, columns, out);
    }
}

/* --- Markdown --- */

static void print_reference_row(const struct field *field, FILE *out)
{
    char type[TYPE_BYTES];
    fprintf(out, "| `%s` | %s%s%s%s | ", field->name, field_type_text(field->type, type, sizeof type),
            field->unit ? ", " : "", field->unit ? field->unit : "", field->type & FIELD_MAYBE ? ", optional" : "");
    for (const char *c = field->meaning; *c; c++)
        fprintf(out, *c == '|' ? "\\|" : "%c", *c);
    fprintf(out, " |\n");
}

static void print_reference(const struct field_table *table, FILE *out)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct field *field = &table->list[i];
        if (begins_group(table, i)) {
            fprintf(out, "%s**", i ? "\n" : "");
            print_places(field->places, out);
            fprintf(out, field->name ? "**\n" : "**: %s\n", field->meaning);
        }
        bool first = field->name && (begins_group(table, i) || !table->list[i - 1].name);
        if (first)
            fprintf(out, "\n| member | type | content |\n|---|---|---|\n");
        if (field->name)
            print_reference_row(field, out);
    }
}

bool fields_help(const struct option_table *table, const char *topic, FILE *out)
{
    bool reference = strncmp(topic, REFERENCE, strlen(REFERENCE)) == 0;
    const char *page = topic + (reference ? strlen(REFERENCE) : 0);
    for (size_t i = 0; i < table->page_count; i++) {
        if (strcmp(table->pages[i].topic, page) != 0)
            continue;
        if (reference)
            print_reference(&table->pages[i], out);
        else
            print_page(table, &table->pages[i], out);
        return true;
    }
    return false;
}
