/* Sets of labels; see label_set.h. Open addressing with linear probing, at most half full. Thread: any. */
#include "worker/data/parse/label_set.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "common/base/mem.h"
#include "common/base/util.h"

enum { TABLE_LEAST = 16 };

void label_set_fini(struct label_set *set)
{
    label_list_fini(&set->labels);
    free(set->places);
    free(set->keys);
    free(set->table);
    *set = (struct label_set){0};
}

/* The bits of a number, or a hash of a word's bytes. */
static uint64_t key_of(const struct label_token *token)
{
    uint64_t bits;
    memcpy(&bits, &token->value, sizeof bits);
    return token->word ? XXH64(token->at, token->n, 1) : bits;
}

static size_t place_of(const struct label_set *set, uint64_t key)
{
    return (size_t)XXH64(&key, sizeof key, 0) & (set->table_size - 1);
}

static bool is_label(const struct label *label, const struct label_token *token)
{
    if (label->word != token->word)
        return false;
    if (!label->word)
        return label->value == token->value;
    return strlen(label->text) == token->n && memcmp(label->text, token->at, token->n) == 0;
}

/* The place of the label in the table, or the free one for it. */
static size_t table_find(const struct label_set *set, const struct label_token *token, uint64_t key)
{
    size_t at = place_of(set, key);
    while (set->table[at] && !is_label(&set->labels.list[set->table[at] - 1], token))
        at = (at + 1) & (set->table_size - 1);
    return at;
}

/* Room for one label more: in the arrays, and in a table that is made anew. */
static bool set_grow(struct label_set *set)
{
    if (set->labels.count < set->room)
        return true;
    size_t room = MAX(2 * set->room, (size_t)TABLE_LEAST / 2), size = 2 * room;
    struct label_place *places = realloc(set->places, room * sizeof *places);
    set->places = places ? places : set->places;
    uint64_t *keys = realloc(set->keys, room * sizeof *keys);
    set->keys = keys ? keys : set->keys;
    uint32_t *table = mem_array_zero(size, sizeof *table);
    if (!places || !keys || !table) {
        free(table);
        return false;
    }
    free(set->table);
    set->table = table;
    set->table_size = size;
    set->room = room;
    for (size_t i = 0; i < set->labels.count; i++) {
        size_t at = place_of(set, keys[i]);
        while (table[at])
            at = (at + 1) & (size - 1);
        table[at] = (uint32_t)i + 1;
    }
    return true;
}

dp_err label_set_add(struct label_set *set, const struct label_token *token, struct label_place place,
                     uint32_t *ret_number)
{
    const uint64_t key = key_of(token);
    size_t at = set->table_size ? table_find(set, token, key) : 0, count = set->labels.count;
    if (set->table_size && set->table[at]) {
        *ret_number = set->table[at] - 1;
        return DP_OK;
    }
    if (count == LABELS_MAX || set->bytes + token->n > LABELS_BYTES_MAX)
        return DP_MODEL;
    if (!set_grow(set) || label_list_add(&set->labels, token))
        return DP_NOMEM;
    set->table[table_find(set, token, key)] = (uint32_t)count + 1;
    set->places[count] = place;
    set->keys[count] = key;
    set->bytes += token->n;
    *ret_number = (uint32_t)count;
    return DP_OK;
}

static struct label_token token_of(const struct label *label)
{
    return (struct label_token){label->text, strlen(label->text), label->value, label->word};
}

dp_err label_set_join(struct label_set *set, const struct label_set *more, uint64_t rows, uint32_t *ret_numbers)
{
    dp_err e = DP_OK;
    for (size_t i = 0; !e && i < more->labels.count; i++) {
        const struct label_token token = token_of(&more->labels.list[i]);
        const struct label_place place = {rows + more->places[i].row, more->places[i].line};
        e = label_set_add(set, &token, place, &ret_numbers[i]);
    }
    return e;
}

dp_err label_set_sorted(const struct label_set *set, struct label_list *ret_labels)
{
    dp_err e = label_list_copy(&set->labels, ret_labels);
    if (!e)
        label_list_sort(ret_labels);
    return e;
}

ptrdiff_t label_set_find(const struct label_set *set, const struct label *label)
{
    const struct label_token token = token_of(label);
    if (!set->table_size)
        return -1;
    return (ptrdiff_t)set->table[table_find(set, &token, key_of(&token))] - 1;
}
