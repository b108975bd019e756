/* Constraints as users write them, KIND[=ARG][@TENSOR], and which of them make sense. Thread: head. */
#include "common/terms/constraint_text.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/number.h"
#include "common/base/text.h"
#include "common/base/util.h"

enum { TEXT_MAX = 1024, LINEAR_BYTES_FIRST = 1 << 16, LINEAR_BYTES_MAX = 1 << 28 };

static const struct {
    const char *name;
    const char *arg; /* the argument that is needed; NULL: none */
} KINDS[] = {
    [CONSTRAINT_NONNEG] = {"nonneg", NULL},    [CONSTRAINT_BOX] = {"box", "LO:HI"},
    [CONSTRAINT_MAX_NORM] = {"max-norm", "R"}, [CONSTRAINT_UNIT_NORM] = {"unit-norm", NULL},
    [CONSTRAINT_L2_BALL] = {"l2-ball", "R"},   [CONSTRAINT_L1_BALL] = {"l1-ball", "R"},
    [CONSTRAINT_SIMPLEX] = {"simplex", "S"},   [CONSTRAINT_SUM] = {"sum", "S"},
    [CONSTRAINT_LINEAR] = {"linear", "FILE"},
};

const char *constraint_name(enum constraint_kind kind)
{
    return KINDS[kind].name;
}

/* A number that is finite as a float, is 0 there only if it is 0, and ends at `end`. */
static bool number(const char *text, char end, double *ret)
{
    char *stop;
    bool vanishes;
    double x = float_parse(text, &stop, &vanishes);
    if (stop == text || *stop != end || !isfinite((float)x) || vanishes)
        return false;
    *ret = x;
    return true;
}

static bool box(const char *arg, struct constraint *c)
{
    const char *colon = strchr(arg, ':');
    c->lo = -INFINITY;
    c->hi = INFINITY;
    if (!colon || (colon == arg && colon[1] == '\0'))
        return false;
    return (colon == arg || number(arg, ':', &c->lo)) && (colon[1] == '\0' || number(colon + 1, '\0', &c->hi));
}

/* ---- linear=FILE: lines of "= BOUND INDEX:VALUE ..." or "<= BOUND INDEX:VALUE ...", indices from 1 ---- */

static dp_err bad_line(const char *path, size_t line, const char *why, dp_error *err)
{
    return dp_fail(err, DP_DATA,
                   "option --constraint: %s:%zu: %s; a line is '= BOUND INDEX:VALUE ...' or "
                   "'<= BOUND INDEX:VALUE ...', indices from 1 in ascending order",
                   path, line, why);
}

static bool row_add(struct linear_row *row, uint64_t index, double value)
{
    if ((row->count & (row->count - 1)) == 0) {
        size_t room = row->count ? row->count * 2 : 1;
        uint64_t *indices = realloc(row->index, room * sizeof *indices);
        if (indices)
            row->index = indices;
        double *values = realloc(row->value, room * sizeof *values);
        if (values)
            row->value = values;
        if (!indices || !values)
            return false;
    }
    row->index[row->count] = index;
    row->value[row->count++] = value;
    row->squares += value * value;
    return true;
}

static dp_err entry_read(struct linear_row *row, char *text, const char *path, size_t line, dp_error *err)
{
    char *colon = strchr(text, ':'), *stop;
    double value;
    errno = 0;
    unsigned long long index = strtoull(text, &stop, 10);
    if (!colon || stop != colon || text[0] == '-' || errno || index == 0 || !number(colon + 1, '\0', &value))
        return bad_line(path, line, "an entry is not INDEX:VALUE", err);
    if (row->count && index - 1 <= row->index[row->count - 1])
        return bad_line(path, line, "indices do not ascend", err);
    return row_add(row, index - 1, value) ? DP_OK : dp_fail(err, DP_NOMEM, "out of memory for %s", path);
}

/* The next word of *rest, NULL at the end. */
static char *word_next(char **rest)
{
    char *word;
    do
        word = strsep(rest, " \t\r\n");
    while (word && word[0] == '\0');
    return word;
}

static dp_err row_read(struct linear_row *row, char *text, const char *path, size_t line, dp_error *err)
{
    char *rest = text, *word = word_next(&rest);
    row->equality = strcmp(word, "=") == 0;
    if (!row->equality && strcmp(word, "<=") != 0)
        return bad_line(path, line, "it begins with neither = nor <=", err);
    word = word_next(&rest);
    if (!word || !number(word, '\0', &row->bound))
        return bad_line(path, line, "the bound is not a number", err);
    while ((word = word_next(&rest))) {
        dp_err e = entry_read(row, word, path, line, err);
        if (e)
            return e;
    }
    return row->squares > 0 ? DP_OK : bad_line(path, line, "all values are zero", err);
}

static bool is_blank(const char *line)
{
    size_t skip = strspn(line, " \t\r\n");
    return line[skip] == '\0' || line[skip] == '#';
}

/* Changes the text. */
static dp_err rows_read(struct linear *linear, char *text, const char *path, dp_error *err)
{
    size_t line = 0;
    dp_err e = DP_OK;
    linear->rows = mem_array_zero(CONSTRAINT_ROWS_MAX, sizeof *linear->rows);
    if (!linear->rows)
        return dp_fail(err, DP_NOMEM, "out of memory for %s", path);
    for (char *at; !e && (at = strsep(&text, "\n"));) {
        line++;
        if (is_blank(at))
            continue;
        if (linear->count == CONSTRAINT_ROWS_MAX)
            e = dp_fail(err, DP_DATA, "option --constraint: %s has more than %d rows", path, CONSTRAINT_ROWS_MAX);
        else
            e = row_read(&linear->rows[linear->count++], at, path, line, err);
    }
    if (!e && linear->count == 0)
        e = dp_fail(err, DP_DATA, "option --constraint: %s has no rows", path);
    return e;
}

/* The text read so far: `bytes` of `room`, on the heap. */
struct reading {
    char *text;
    size_t room, bytes;
};

static dp_err read_all(struct reading *r, const char *path, FILE *file, dp_error *err)
{
    while (!feof(file) && !ferror(file)) {
        size_t n = fread(r->text + r->bytes, 1, r->room - 1 - r->bytes, file);
        if (memchr(r->text + r->bytes, '\0', n))
            return dp_fail(err, DP_DATA, "option --constraint: %s: is no text: it has zero bytes", path);
        r->bytes += n;
        if (r->bytes + 1 < r->room)
            continue;
        if (r->room >= LINEAR_BYTES_MAX)
            return dp_fail(err, DP_DATA,
                           "option --constraint: %s: is larger than %d MiB, so it is no file of constraints", path,
                           LINEAR_BYTES_MAX >> 20);
        char *more = realloc(r->text, 2 * r->room);
        if (!more)
            return dp_fail(err, DP_NOMEM, "out of memory for %s", path);
        r->text = more;
        r->room *= 2;
    }
    if (ferror(file))
        return dp_fail(err, DP_IO, "option --constraint: cannot read %s: %s", path, strerror(errno));
    r->text[r->bytes] = '\0';
    return DP_OK;
}

/* The whole file, or pipe, with a NUL behind it. No constraint takes LINEAR_BYTES_MAX. */
static dp_err file_read(const char *path, FILE *file, char **ret_text, dp_error *err)
{
    struct reading r = {.text = malloc(LINEAR_BYTES_FIRST), .room = LINEAR_BYTES_FIRST};
    if (!r.text)
        return dp_fail(err, DP_NOMEM, "out of memory for %s", path);
    dp_err e = read_all(&r, path, file, err);
    if (e)
        free(r.text);
    else
        *ret_text = r.text;
    return e;
}

static dp_err linear_read(struct linear *linear, const char *path, dp_error *err)
{
    char *text = NULL;
    FILE *file = fopen(path, "re");
    if (!file)
        return dp_fail(err, DP_IO, "option --constraint: cannot read %s: %s", path, strerror(errno));
    dp_err e = file_read(path, file, &text, err);
    fclose(file);
    if (!e)
        e = rows_read(linear, text, path, err);
    free(text);
    return e;
}

static void linear_fini(struct linear *linear)
{
    for (uint32_t r = 0; r < linear->count; r++) {
        free(linear->rows[r].index);
        free(linear->rows[r].value);
    }
    free(linear->rows);
    *linear = (struct linear){0};
}

/* ---- one constraint ---- */

static dp_err argument(struct constraint *c, const char *text, const char *arg, dp_error *err)
{
    const char *wants = KINDS[c->kind].arg, *name = KINDS[c->kind].name;
    if (!wants && !arg)
        return DP_OK;
    if (!wants)
        return dp_fail(err, DP_USAGE, "option --constraint: %s takes no argument", name);
    if (!arg || arg[0] == '\0')
        return dp_fail(err, DP_USAGE, "option --constraint: '%s' lacks its argument: %s=%s", text, name, wants);
    if (c->kind == CONSTRAINT_LINEAR)
        return linear_read(&c->linear, arg, err);
    if (c->kind == CONSTRAINT_BOX) {
        if (!box(arg, c))
            return dp_fail(err, DP_USAGE,
                           "option --constraint: '%s': a box is LO:HI, two numbers, of which one may be "
                           "left out",
                           text);
        if (c->lo > c->hi)
            return dp_fail(err, DP_USAGE, "option --constraint: '%s' is empty: %g is more than %g", text, c->lo, c->hi);
        return DP_OK;
    }
    if (!number(arg, '\0', &c->arg))
        return dp_fail(
            err, DP_USAGE,
            "option --constraint: '%s': %s is a finite number, and not so small that a 32-bit float has it as 0", text,
            wants);
    if (c->kind != CONSTRAINT_SUM && c->arg <= 0)
        return dp_fail(err, DP_USAGE, "option --constraint: '%s': %s must be more than 0", text, wants);
    return DP_OK;
}

/* Splits at the last @, so that a file's name may have one if a tensor is named as well. */
static dp_err parse(struct constraint *c, char *copy, const char *text, dp_error *err)
{
    char *at = strrchr(copy, '@'), *equals;
    if (at)
        *at++ = '\0';
    if (at && (at[0] == '\0' || !str_copy(c->tensor, sizeof c->tensor, at)))
        return dp_fail(err, DP_USAGE, "option --constraint: '%s': no tensor is called '%s'", text, at);
    equals = strchr(copy, '=');
    if (equals)
        *equals++ = '\0';
    for (size_t k = 0; k < ARRAY_LEN(KINDS); k++)
        if (strcmp(copy, KINDS[k].name) == 0) {
            c->kind = (enum constraint_kind)k;
            return argument(c, text, equals, err);
        }
    return dp_fail(err, DP_USAGE,
                   "option --constraint: '%s' is not one of nonneg, box=LO:HI, max-norm=R, unit-norm, "
                   "l2-ball=R, l1-ball=R, simplex=S, sum=S, linear=FILE",
                   copy);
}

dp_err constraints_add(struct constraints *constraints, const char *text, dp_error *err)
{
    char copy[TEXT_MAX];
    if (constraints->count == CONSTRAINTS_MAX)
        return dp_fail(err, DP_USAGE, "option --constraint: at most %d", CONSTRAINTS_MAX);
    if (!str_copy(copy, sizeof copy, text))
        return dp_fail(err, DP_USAGE, "option --constraint: '%.40s...' is too long", text);
    struct constraint *c = &constraints->list[constraints->count++];
    *c = (struct constraint){0};
    return parse(c, copy, text, err);
}

void constraints_fini(struct constraints *constraints)
{
    for (uint32_t i = 0; i < constraints->count; i++)
        linear_fini(&constraints->list[i].linear);
    constraints->count = 0;
}

/* ---- pairs that go together ---- */

static bool is_cone_or_box(const struct constraint *c)
{
    return c->kind == CONSTRAINT_NONNEG || c->kind == CONSTRAINT_BOX;
}

static bool is_centred_ball(const struct constraint *c)
{
    return c->kind == CONSTRAINT_L2_BALL || c->kind == CONSTRAINT_L1_BALL || c->kind == CONSTRAINT_MAX_NORM;
}

/* Whether projecting on one and then on the other is the projection on both: two boxes that meet, and the cone w >= 0
 * with a ball around 0. */
static bool compose(const struct constraint *a, const struct constraint *b)
{
    if (is_cone_or_box(a) && is_cone_or_box(b))
        return true;
    return (a->kind == CONSTRAINT_NONNEG && is_centred_ball(b)) || (b->kind == CONSTRAINT_NONNEG && is_centred_ball(a));
}

static bool meet(const struct constraint *a, const struct constraint *b)
{
    uint64_t both = a->mask & b->mask;
    if (a->mask && b->mask)
        return both != 0;
    return a->tensor[0] == '\0' ? b->tensor[0] == '\0' : strcmp(a->tensor, b->tensor) == 0;
}

static double lower(const struct constraint *c)
{
    return c->kind == CONSTRAINT_NONNEG ? 0 : c->lo;
}

static double upper(const struct constraint *c)
{
    return c->kind == CONSTRAINT_NONNEG ? INFINITY : c->hi;
}

static dp_err check_pair(const struct constraint *a, const struct constraint *b, dp_error *err)
{
    const char *one = constraint_name(a->kind), *other = constraint_name(b->kind);
    if (!meet(a, b))
        return DP_OK;
    if (!compose(a, b)) {
        bool simplex = (a->kind == CONSTRAINT_NONNEG && b->kind == CONSTRAINT_SUM) ||
                       (b->kind == CONSTRAINT_NONNEG && a->kind == CONSTRAINT_SUM);
        return dp_fail(err, DP_USAGE,
                       "options --constraint %s and --constraint %s on the same tensor: projecting on one after the "
                       "other is not the projection on both%s",
                       one, other,
                       simplex ? "; simplex=S is w >= 0 with sum S" : "; --constraint-method penalty can take them");
    }
    if (is_cone_or_box(a) && is_cone_or_box(b) && (lower(a) > upper(b) || lower(b) > upper(a)))
        return dp_fail(err, DP_USAGE, "options --constraint %s and --constraint %s exclude each other", one, other);
    return DP_OK;
}

static dp_err check_method(const struct constraint *c, enum constraint_method method, dp_error *err)
{
    const char *name = constraint_name(c->kind);
    bool row_wise = c->kind == CONSTRAINT_MAX_NORM || c->kind == CONSTRAINT_UNIT_NORM;
    if (method == METHOD_PROJECT && c->kind == CONSTRAINT_LINEAR && c->linear.count > 1)
        return dp_fail(err, DP_USAGE,
                       "option --constraint linear: there is no closed projection on %u rows at once; use "
                       "--constraint-method augmented",
                       c->linear.count);
    if (method != METHOD_PROJECT && row_wise)
        return dp_fail(err, DP_USAGE,
                       "option --constraint %s: it is only projected, which is exact: leave "
                       "--constraint-method away",
                       name);
    if (method == METHOD_AUGMENTED && (is_cone_or_box(c) || c->kind == CONSTRAINT_SIMPLEX))
        return dp_fail(err, DP_USAGE,
                       "option --constraint %s: augmented would need a multiplier for each element, and its projection "
                       "is exact: use --constraint-method project",
                       name);
    return DP_OK;
}

dp_err constraints_check(const struct constraints *constraints, dp_error *err)
{
    for (uint32_t i = 0; i < constraints->count; i++) {
        dp_err e = check_method(&constraints->list[i], constraints->method, err);
        for (uint32_t j = 0; !e && constraints->method == METHOD_PROJECT && j < i; j++)
            e = check_pair(&constraints->list[j], &constraints->list[i], err);
        if (e)
            return e;
    }
    return DP_OK;
}

/* ---- tensors ---- */

static dp_err resolve_linear(struct constraint *c, const struct tensors *tensors, uint32_t named, dp_error *err)
{
    uint64_t elems = c->tensor[0] ? tensors->list[named].elems : tensors_total(tensors);
    c->offset = c->tensor[0] ? tensors_offset(tensors, named) : 0;
    c->mask = c->tensor[0] ? c->mask : UINT64_MAX >> (64 - tensors->count);
    for (uint32_t r = 0; r < c->linear.count; r++) {
        const struct linear_row *row = &c->linear.rows[r];
        if (row->index[row->count - 1] >= elems)
            return dp_fail(err, DP_USAGE,
                           "option --constraint linear: index %" PRIu64 " of row %u is more than the "
                           "%" PRIu64 " parameters there are",
                           row->index[row->count - 1] + 1, r + 1, elems);
    }
    return DP_OK;
}

static dp_err resolve(struct constraint *c, const struct tensors *tensors, dp_error *err)
{
    uint32_t named = 0;
    c->mask = 0;
    c->elems = 0;
    for (uint32_t t = 0; t < tensors->count; t++) {
        const struct tensor *tensor = &tensors->list[t];
        if (c->tensor[0] ? strcmp(c->tensor, tensor->name) != 0 : !tensor->regularized)
            continue;
        named = t;
        c->mask |= (uint64_t)1 << t;
        c->elems += (double)tensor->elems;
    }
    if (c->mask == 0)
        return dp_fail(err, DP_USAGE, "option --constraint %s@%s: the model has no tensor '%s'; its first is '%s'",
                       constraint_name(c->kind), c->tensor, c->tensor, tensors->list[0].name);
    return c->kind == CONSTRAINT_LINEAR ? resolve_linear(c, tensors, named, err) : DP_OK;
}

dp_err constraints_resolve(struct constraints *constraints, const struct tensors *tensors, dp_error *err)
{
    for (uint32_t i = 0; i < constraints->count; i++) {
        dp_err e = resolve(&constraints->list[i], tensors, err);
        if (e)
            return e;
    }
    return DP_OK;
}
