/* Any bytes as the file of what dp-ctl has set: refused with file and line, or read as ascending numbers. */
#include <stdlib.h>
#include <string.h>

#include "server/store/settings.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct setting_record *list;
    size_t count;
    dp_error err = {0};
    if (settings_parse("fuzz", (const char *)data, bytes, &list, &count, &err)) {
        FUZZ_ASSERT(strncmp(err.text, "fuzz:", 5) == 0);
        return 0;
    }
    for (size_t i = 0; i < count; i++)
        FUZZ_ASSERT(list[i].number > (i > 0 ? list[i - 1].number : 0));
    free(list);
    return 0;
}
