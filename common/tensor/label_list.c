/* Lists of labels; see label_list.h. Thread: any. */
#include "common/tensor/label_list.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/text.h"
#include "common/base/util.h"

void label_list_fini(struct label_list *labels)
{
    for (size_t i = 0; i < labels->count; i++)
        free(labels->list[i].text);
    free(labels->list);
    *labels = (struct label_list){0};
}

/* Room for one more: the list doubles at powers of two. */
static bool list_room(struct label_list *labels)
{
    size_t count = labels->count;
    if (count & (count - 1))
        return true;
    struct label *more = realloc(labels->list, (count ? 2 * count : 1) * sizeof *more);
    if (!more)
        return false;
    labels->list = more;
    return true;
}

dp_err label_list_add(struct label_list *labels, const struct label_token *token)
{
    char *text = strndup(token->at, token->n);
    if (!text || !list_room(labels)) {
        free(text);
        return DP_NOMEM;
    }
    labels->list[labels->count++] = (struct label){text, token->value, token->word};
    return DP_OK;
}

static struct label_token token_of(const struct label *label)
{
    return (struct label_token){label->text, strlen(label->text), label->value, label->word};
}

dp_err label_list_copy(const struct label_list *from, struct label_list *ret_labels)
{
    struct label_list labels = {0};
    for (size_t i = 0; i < from->count; i++) {
        const struct label_token token = token_of(&from->list[i]);
        if (label_list_add(&labels, &token)) {
            label_list_fini(&labels);
            return DP_NOMEM;
        }
    }
    *ret_labels = labels;
    return DP_OK;
}

static int compare(const void *a, const void *b)
{
    return label_compare(a, b);
}

void label_list_sort(struct label_list *labels)
{
    if (labels->count > 1)
        qsort(labels->list, labels->count, sizeof *labels->list, compare);
}

bool label_list_ascends(const struct label_list *labels)
{
    for (size_t i = 1; i < labels->count; i++)
        if (label_compare(&labels->list[i - 1], &labels->list[i]) >= 0)
            return false;
    return true;
}

ptrdiff_t label_list_find(const struct label_list *labels, const struct label *label)
{
    if (labels->count == 0)
        return -1;
    const struct label *found = bsearch(label, labels->list, labels->count, sizeof *label, compare);
    return found ? found - labels->list : -1;
}

bool label_list_same(const struct label_list *a, const struct label_list *b)
{
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++)
        same = label_compare(&a->list[i], &b->list[i]) == 0;
    return same;
}

/* Adds the label of [at, at + n). */
static dp_err add_text(struct label_list *labels, const char *at, size_t n, dp_error *err)
{
    struct label_token token;
    if (n == 0) /* this and the next: label_read's remedies are for rows of data */
        return dp_fail(err, DP_RANGE, "a label of the list is empty; put one comma between two labels");
    if (label_is_hole(at, n))
        return dp_fail(err, DP_RANGE, "'%.*s' stands for a missing value and is no label; leave it out",
                       (int)MIN(n, (size_t)LABEL_TEXT_MAX), at);
    const char *fault = label_read(at, n, &token);
    if (fault)
        return dp_fail(err, DP_RANGE, "label '%.*s' %s", (int)MIN(n, (size_t)LABEL_TEXT_MAX), at, fault);
    return label_list_add(labels, &token) ? dp_fail(err, DP_NOMEM, "out of memory for labels") : DP_OK;
}

dp_err label_list_take(const double *values, const char *const *texts, size_t count, struct label_list *ret_labels,
                       dp_error *err)
{
    struct label_list labels = {0};
    dp_err e = DP_OK;
    for (size_t i = 0; !e && i < count; i++) {
        char number[LABEL_NUMBER_CHARS];
        if (!texts && !isfinite(values[i]))
            e = dp_fail(err, DP_RANGE, "label %zu is not a finite number", i);
        if (e)
            break;
        const char *text = texts ? texts[i] : label_number_text(values[i], number);
        e = add_text(&labels, text, strlen(text), err);
    }
    if (e)
        label_list_fini(&labels);
    else
        *ret_labels = labels;
    return e;
}

bool label_list_has_words(const struct label_list *labels)
{
    for (size_t i = 0; i < labels->count; i++)
        if (labels->list[i].word)
            return true;
    return false;
}

bool label_list_mixed(const struct label_list *labels, size_t *ret_word)
{
    size_t words = 0, first = 0;
    for (size_t i = labels->count; i-- > 0;) {
        const struct label *label = &labels->list[i];
        const char *digits = label->text + (*label->text == '-');
        if (!label->word || digits[strspn(digits, "0123456789")] == '\0')
            continue;
        words++;
        first = i;
    }
    *ret_word = first;
    return words > 0 && words < labels->count;
}

char **label_list_texts(const struct label_list *labels)
{
    char **texts = mem_array(labels->count, sizeof *texts);
    for (size_t i = 0; texts && i < labels->count; i++)
        texts[i] = labels->list[i].text;
    return texts;
}

bool label_list_has_texts(const struct label_list *labels)
{
    char number[LABEL_NUMBER_CHARS];
    for (size_t i = 0; i < labels->count; i++)
        if (labels->list[i].word || strcmp(labels->list[i].text, label_number_text(labels->list[i].value, number)) != 0)
            return true;
    return false;
}

static const char *blanks_skip(const char *at)
{
    return at + strspn(at, " \t");
}

/* The inside of quotes from behind the opening one to buf. Returns the end of the closing one, or NULL. */
static const char *quoted_copy(const char *at, char buf[LABEL_TEXT_MAX + 1], size_t *ret_n)
{
    size_t n = 0;
    for (; *at && n <= LABEL_TEXT_MAX; at++) {
        if (*at == '"' && at[1] != '"') {
            *ret_n = n;
            return at + 1;
        }
        at += *at == '"';
        buf[n++] = *at;
    }
    return NULL;
}

/* One item of the list; *at is left at the comma or the end behind it. */
static dp_err item_parse(struct label_list *labels, const char **at, dp_error *err)
{
    char buf[LABEL_TEXT_MAX + 1];
    const char *begin = blanks_skip(*at), *text = begin, *end;
    size_t n;
    if (*begin == '"') {
        end = quoted_copy(begin + 1, buf, &n);
        if (!end)
            return dp_fail(err, DP_RANGE, "a quoted label has no closing quote, or more than %d bytes", LABEL_TEXT_MAX);
        text = buf;
        end = blanks_skip(end);
        if (*end && *end != ',')
            return dp_fail(err, DP_RANGE, "text after the closing quote of a label; double the quotes inside it");
    } else {
        end = begin + strcspn(begin, ",");
        n = (size_t)(end - begin);
        while (n && (begin[n - 1] == ' ' || begin[n - 1] == '\t'))
            n--;
    }
    *at = end;
    return add_text(labels, text, n, err);
}

dp_err label_list_parse(const char *text, struct label_list *ret_labels, dp_error *err)
{
    struct label_list labels = {0};
    const char *at = text;
    dp_err e = item_parse(&labels, &at, err);
    while (!e && *at == ',') {
        at++;
        e = item_parse(&labels, &at, err);
    }
    if (e)
        label_list_fini(&labels);
    else
        *ret_labels = labels;
    return e;
}

/* Appends one label, in quotes if it needs them. */
static void text_append(const char *text, char **at)
{
    bool quoted = strpbrk(text, ",\"") != NULL;
    if (quoted)
        *(*at)++ = '"';
    for (; *text; text++) {
        if (*text == '"')
            *(*at)++ = '"';
        *(*at)++ = *text;
    }
    if (quoted)
        *(*at)++ = '"';
}

char *label_list_text(const struct label_list *labels)
{
    size_t size = 1;
    for (size_t i = 0; i < labels->count; i++)
        size += 2 * strlen(labels->list[i].text) + 3;
    char *text = mem_array_zero(size, 1), *at = text;
    for (size_t i = 0; text && i < labels->count; i++) {
        if (i)
            *at++ = ',';
        text_append(labels->list[i].text, &at);
    }
    return text;
}

const char *label_list_show(const struct label_list *labels, char buf[LABEL_LIST_TEXT])
{
    size_t used = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < labels->count; i++) {
        const char *text = labels->list[i].text;
        if (used + strlen(text) + sizeof ", , ..." > LABEL_LIST_TEXT) {
            (void)str_append(buf, LABEL_LIST_TEXT, &used, "%s...", i ? ", " : "");
            break;
        }
        (void)str_append(buf, LABEL_LIST_TEXT, &used, "%s%s", i ? ", " : "", text);
    }
    return buf;
}
