/* Lines of whole words. Thread: any. */
#include "common/options/wrap.h"

#include <stdbool.h>
#include <string.h>

enum { COLUMNS = 80 };

void print_wrapped(FILE *out, size_t column, size_t left, const char *text)
{
    bool line_empty = true;
    while (*text) {
        size_t word = strcspn(text, " ");
        if (!line_empty && column + 1 + word > COLUMNS) {
            fputc('\n', out);
            column = 0;
            line_empty = true;
        }
        if (column < left) {
            fprintf(out, "%*s", (int)(left - column), "");
            column = left;
        }
        if (!line_empty)
            fputc(' ', out);
        for (size_t i = 0; i < word; i++)
            fputc(text[i] == HARD_SPACE ? ' ' : text[i], out);
        column += word + !line_empty;
        line_empty = false;
        text += word + strspn(text + word, " ");
    }
    fputc('\n', out);
}
