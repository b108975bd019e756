/* The table of transports. Thread: any. */
#include "common/net/transport.h"

#include <assert.h>
#include <string.h>

#include "common/base/util.h"

static const struct transport *const TRANSPORTS[] = {
    [TRANSPORT_TCP] = &TRANSPORT_ROW_TCP,
    [TRANSPORT_IPC] = &TRANSPORT_ROW_IPC,
};

const struct transport *transport_get(enum transport_id id)
{
    assert((size_t)id < ARRAY_LEN(TRANSPORTS) && TRANSPORTS[id]->id == id);
    return TRANSPORTS[id];
}

const struct transport *transport_of(const char *text, const char **ret_rest)
{
    for (size_t i = 0; i < ARRAY_LEN(TRANSPORTS); i++) {
        size_t length = strlen(TRANSPORTS[i]->scheme);
        if (strncmp(text, TRANSPORTS[i]->scheme, length) == 0) {
            *ret_rest = text + length;
            return TRANSPORTS[i];
        }
    }
    return NULL;
}
