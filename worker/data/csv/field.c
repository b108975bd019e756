/* Rows and their fields; see field.h. Thread: any. */
#include "worker/data/csv/field.h"

bool csv_is_blank(const struct csv *csv, char c)
{
    return c == ' ' || c == '\r' || (c == '\t' && csv->delimiter != '\t');
}

static void blanks_skip(struct csv *csv)
{
    while (csv->text.at < csv->text.end && csv_is_blank(csv, *csv->text.at))
        csv->text.at++;
}

/* The inside of a quoted field; `text.at` is behind the opening quote and is left behind the closing one. */
static dp_err quoted_read(struct csv *csv, struct field *field)
{
    struct text *text = &csv->text;
    field->quoted = true;
    field->at = text->at;
    for (;; text->at++) {
        if (text->at == text->end)
            return text_fail(text, csv->err, "a quoted field has no closing quote; add a \" where it ends");
        csv->line += *text->at == '\n';
        if (*text->at != '"')
            continue;
        if (text->end - text->at < 2 || text->at[1] != '"')
            break;
        text->at++;
    }
    field->n = (size_t)(text->at++ - field->at);
    blanks_skip(csv);
    if (text->at < text->end && *text->at != csv->delimiter && *text->at != '\n')
        return text_fail(text, csv->err, "text after the closing quote of a field; double the quotes inside it");
    return DP_OK;
}

static void plain_read(struct csv *csv, struct field *field)
{
    const char *p = csv->text.at;
    field->at = p;
    while (p < csv->text.end && *p != csv->delimiter && *p != '\n')
        p++;
    csv->text.at = p;
    while (p > field->at && csv_is_blank(csv, p[-1]))
        p--;
    field->n = (size_t)(p - field->at);
}

dp_err csv_field_read(struct csv *csv, struct field *field)
{
    struct text *text = &csv->text;
    blanks_skip(csv);
    field->quoted = false;
    if (text->at < text->end && *text->at == '"') {
        text->at++;
        dp_err e = quoted_read(csv, field);
        if (e)
            return e;
    } else {
        plain_read(csv, field);
    }
    field->last = text->at == text->end || *text->at == '\n';
    csv->line += text->at < text->end && *text->at == '\n';
    text->at += text->at < text->end;
    return DP_OK;
}

bool csv_row_begin(struct csv *csv)
{
    for (blanks_skip(csv); csv->text.at < csv->text.end && *csv->text.at == '\n'; blanks_skip(csv)) {
        csv->text.at++;
        csv->line++;
    }
    csv->text.line = csv->line;
    return csv->text.at < csv->text.end;
}
