/* Flags that must be known before the options are read; see early.h. Thread: any. */
#include "common/options/early.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "common/options/table.h"

static bool is_on(const char *value)
{
    static const char *const WORDS[] = {"on", "true", "yes", "1"};
    for (size_t i = 0; i < ARRAY_LEN(WORDS); i++)
        if (strcmp(value, WORDS[i]) == 0)
            return true;
    return false;
}

bool options_flag_early(const char *name, int argc, char **argv)
{
    char variable[OPTION_NAME_MAX];
    size_t at = 0, bytes = strlen(name);
    (void)str_append(variable, sizeof variable, &at, "DP_%s", name);
    for (char *c = variable; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    const char *env = getenv(variable);
    bool on = env && is_on(env);
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--", 2) != 0 || strncmp(argv[i] + 2, name, bytes) != 0)
            continue;
        const char *rest = argv[i] + 2 + bytes;
        on = *rest == '=' ? is_on(rest + 1) : *rest == '\0' || on;
    }
    return on;
}
