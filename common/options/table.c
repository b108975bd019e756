/* Finding one's way in a table; memory of options. Thread: any. */
#include "common/options/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Memory that lives as long as the options: a list of blocks, newest first. */
struct memory_block {
    struct memory_block *next;
    _Alignas(max_align_t) char bytes[];
};

void *options_memory(struct options *opts, size_t bytes)
{
    struct memory_block *block = malloc(sizeof *block + bytes);
    if (!block)
        return NULL;
    block->next = opts->arena;
    opts->arena = block;
    return block->bytes;
}

char *options_copy(struct options *opts, const char *text, size_t bytes)
{
    char *copy = options_memory(opts, bytes + 1);
    if (copy) {
        memcpy(copy, text, bytes);
        copy[bytes] = '\0';
    }
    return copy;
}

void options_fini(struct options *opts)
{
    for (struct memory_block *block = opts->arena, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    *opts = (struct options){0};
}

int option_find(const struct option_table *table, const char *name, size_t bytes)
{
    for (size_t i = 0; i < table->count; i++)
        if (strlen(table->list[i].name) == bytes && memcmp(table->list[i].name, name, bytes) == 0)
            return (int)i;
    return -1;
}

enum option_source options_source(const struct options *opts, const char *name)
{
    int i = option_find(opts->table, name, strlen(name));
    assert(i >= 0);
    return opts->sources[i];
}

bool topic_next(const char **at, struct topic_line *ret_line)
{
    if (!*at || **at == '\0')
        return false;
    size_t line = strcspn(*at, "\n"), name = strcspn(*at, ":\n");
    size_t text = name < line ? name + 1 : name;
    while (text < line && (*at)[text] == ' ')
        text++;
    *ret_line = (struct topic_line){*at, (int)name, *at + text, (int)(line - text)};
    *at += line + ((*at)[line] == '\n');
    return true;
}

bool topic_is(const struct topic_line *line, const char *topic)
{
    return strlen(topic) == (size_t)line->name_bytes && memcmp(line->name, topic, strlen(topic)) == 0;
}
