/* The first row of a CSV file: the delimiter, how many fields a row has, and whether it is a header. The delimiter is
 * the first of , ; or tab that the row has outside quotes.
 *
 * Words alone are a header, numbers alone are data. Numbers that follow each other evenly may be either (pandas numbers
 * columns that have no names), and so may a row with words and numbers (names, or a typing error): there --header has
 * to say. A word in the label's column may be a class. Thread: any. */
#include "worker/data/csv/head.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/util.h"
#include "worker/data/csv/field.h"
#include "worker/data/csv/names.h"
#include "worker/data/parse/number.h"
#include "worker/data/parse/text.h"

/* Kinds of fields in the first row; the label's, where its number is known, counts where all are numbers. */
struct look {
    uint64_t words, numbers, blanks;
    uint64_t word_at, number_at; /* the first of each */
    struct field word, number, first, label;
    uint64_t evenly; /* numbers so far that follow each other evenly */
    double last, step;
    bool whole; /* they are whole numbers */
    bool from_0;
    bool label_word; /* the label's field is a word */
};

static void delimiter_find(struct csv *csv)
{
    bool quoted = false;
    csv->delimiter = ',';
    for (const char *p = csv->text.at; p < csv->text.end && (quoted || *p != '\n'); p++) {
        quoted ^= *p == '"';
        if (!quoted && (*p == ',' || *p == ';' || *p == '\t')) {
            csv->delimiter = *p;
            return;
        }
    }
}

/* The label's column where that is known by number; a header may still have the number as a name. */
static uint64_t label_number(const struct csv *csv)
{
    const struct data_source *source = csv->source;
    uint64_t column = UINT64_MAX;
    if (source->unlabelled)
        return UINT64_MAX;
    if (source->label_column)
        return csv_column_number(csv, source->label_column, &column) ? column : UINT64_MAX;
    return source->want && source->want->fields == csv->fields ? source->want->label_at : UINT64_MAX;
}

static dp_err fields_count(struct csv *csv)
{
    struct field field = {0};
    while (!field.last) {
        dp_err e = csv_field_read(csv, &field);
        if (e)
            return e;
        csv->fields++;
    }
    return DP_OK;
}

/* The value of a token that is a number; it needs no more digits than a double has. */
static double number_value(const struct field *field, bool *whole)
{
    char buf[64];
    size_t n = MIN(field->n, sizeof buf - 1);
    memcpy(buf, field->at, n);
    buf[n] = '\0';
    *whole &= strspn(buf, "0123456789") == n;
    return strtod(buf, NULL);
}

static void look_at_number(struct look *look, const struct field *field, uint64_t column)
{
    double value = number_value(field, &look->whole), step = value - look->last;
    if (look->numbers++ == 0) {
        look->number_at = column;
        look->number = *field;
        look->from_0 = value == 0;
    } else if (look->numbers == 2) {
        look->step = step;
    }
    look->evenly += look->numbers == 1 || (step != 0 && fabs(step - look->step) <= 1e-9 * fabs(value));
    look->last = value;
}

static dp_err look_at_all(struct csv *csv, uint64_t label, struct look *look)
{
    struct field field = {0};
    *look = (struct look){.whole = true};
    for (uint64_t i = 0; i < csv->fields; i++) {
        dp_err e = csv_field_read(csv, &field);
        if (e)
            return e;
        bool word = field.n > 0 && !number_like(field.at, field.n);
        if (i == 0)
            look->first = field;
        look->blanks += field.n == 0;
        if (field.n > 0 && !word)
            look_at_number(look, &field, i);
        else if (word && i == label)
            look->label_word = true, look->label = field;
        else if (word && look->words++ == 0)
            look->word_at = i, look->word = field;
    }
    return DP_OK;
}

/* Whether all fields of the row behind the first one are whole numbers. */
static bool next_is_whole(const struct csv *csv)
{
    struct csv next = *csv;
    struct field field = {0};
    bool whole = true;
    next.err = NULL;
    bool good = csv_row_begin(&next);
    while (good && whole && !field.last) {
        good = csv_field_read(&next, &field) == DP_OK;
        if (good)
            (void)number_value(&field, &whole);
    }
    return good && whole;
}

/* Numbers of a header rather than of a row: three and more that are evenly spaced, of broken ones four; or 0 and 1
 * above other numbers than these two could be. */
static bool is_numbering(const struct csv *csv, const struct look *look)
{
    if (look->evenly != look->numbers)
        return false;
    if (look->numbers == 2 && look->whole && look->from_0 && look->step == 1)
        return !next_is_whole(csv);
    return look->numbers >= (look->whole ? 3 : 4);
}

/* The label's field in the row behind the first one is a word as well, so that the first one's may be a class. */
static bool classes_are_words(const struct csv *csv, uint64_t label)
{
    struct csv next = *csv;
    struct field field = {0};
    next.err = NULL;
    bool good = csv_row_begin(&next);
    for (uint64_t i = 0; good && i <= label && !field.last; i++)
        good = csv_field_read(&next, &field) == DP_OK;
    return good && field.n > 0 && !number_like(field.at, field.n);
}

static dp_err numbering_fail(struct csv *csv, const struct look *look)
{
    if (look->blanks > 0)
        return text_fail(&csv->text, csv->err,
                         "the first row has no name for column 0 and numbers the others: an index column, as pandas "
                         "writes it; save without it (index=False), or leave it out: --header on --ignore-columns 0");
    char quote[QUOTE_MAX];
    return text_fail(&csv->text, csv->err,
                     "the first row, %s and so on, numbers the columns: is it a header or data? Say --header on to "
                     "take it as names, --header off to take it as data",
                     token_quote(quote, look->number.at, look->number.n));
}

static dp_err mixed_fail(struct csv *csv, const struct look *look)
{
    char word[QUOTE_MAX], number[QUOTE_MAX];
    return text_fail(&csv->text, csv->err,
                     "the first row has words and numbers, such as %s (column %" PRIu64 ") and %s (column %" PRIu64
                     "): is it a header, or is one of them a typing error? Mend it, or say --header on to take the row "
                     "as names, --header off to take it as data, or --label-column if the word is the label",
                     token_quote(word, look->word.at, look->word.n), look->word_at,
                     token_quote(number, look->number.at, look->number.n), look->number_at);
}

/* Whether all names that are wanted stand in the row. */
static bool has_wanted(const struct csv *csv)
{
    const struct schema *want = csv->source->want;
    struct csv row = *csv;
    row.text = csv->header;
    row.err = NULL;
    return want && want->names && csv_names_have(&row, want);
}

/* `label`: number of the label's column, if that is known. */
static dp_err header_tell(struct csv *csv, uint64_t label, const struct look *look)
{
    bool blank_first = look->blanks == 1 && look->first.n == 0;
    csv->has_header = has_wanted(csv);
    if (csv->has_header)
        return DP_OK;
    if (look->label_word && look->words == 0 && look->numbers > 0) {
        struct look with_label = *look;
        with_label.word = look->label;
        with_label.word_at = label;
        return classes_are_words(csv, label) && !is_numbering(csv, look) ? DP_OK : mixed_fail(csv, &with_label);
    }
    if (look->words > 0 && look->numbers > 0)
        return mixed_fail(csv, look);
    if (look->words == 0 && !look->label_word && (look->blanks == 0 || blank_first) && is_numbering(csv, look))
        return numbering_fail(csv, look);
    csv->has_header = look->words > 0 || look->label_word;
    return DP_OK;
}

static dp_err first_row_look(struct csv *csv)
{
    struct look look;
    delimiter_find(csv);
    dp_err e = fields_count(csv);
    if (e)
        return e;
    if (csv->source->header != DATA_HEADER_AUTO) {
        csv->has_header = csv->source->header == DATA_HEADER_ON;
        return DP_OK;
    }
    struct csv again = *csv;
    again.text = csv->header;
    uint64_t label = label_number(csv);
    e = look_at_all(&again, label, &look);
    return e ? e : header_tell(csv, label, &look);
}

dp_err csv_first_row_read(struct csv *csv)
{
    if (!csv_row_begin(csv))
        return dp_fail(csv->err, DP_DATA, "%s: has no rows, only blank lines", csv->text.name);
    csv->header = csv->text;
    uint64_t line = csv->line;
    dp_err e = first_row_look(csv);
    if (e)
        return e;
    if (!csv->has_header) {
        csv->text = csv->header;
        csv->line = line;
    }
    return DP_OK;
}

bool csv_head_whole(const char *bytes, size_t size)
{
    static const struct data_source ANY = {.header = DATA_HEADER_OFF};
    struct csv csv = {.line = 1, .source = &ANY};
    struct field field = {0};
    text_init(&csv.text, "", bytes, size);
    bool good = csv_row_begin(&csv);
    if (good)
        delimiter_find(&csv);
    for (int row = 0; good && row < 2; row++) {
        good = row == 0 || csv_row_begin(&csv);
        for (field.last = false; good && !field.last;)
            good = csv_field_read(&csv, &field) == DP_OK;
    }
    return good && csv.text.at[-1] == '\n';
}

dp_err csv_head_read(const struct data_source *source, const char *bytes, size_t size, struct csv_head *ret_head,
                     dp_error *err)
{
    struct csv csv = {.line = 1, .source = source, .err = err};
    text_init(&csv.text, source->path, bytes, size);
    dp_err e = csv_first_row_read(&csv);
    if (e)
        return e;
    *ret_head = (struct csv_head){.header_bytes = csv.has_header ? (size_t)(csv.text.at - bytes) : 0,
                                  .header_lines = csv.has_header ? csv.line - 1 : 0};
    return DP_OK;
}
