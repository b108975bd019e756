/* ZMTP 3 while it arrives; see zmtp.h.
 *
 * Invariant: a frame is judged by its flags and size before any byte of its body is passed on, but for a large header,
 * which is judged by its first GATE_TOKEN_BYTES. Thread: any. */
#include "server/zmtp/zmtp.h"

#include <string.h>
#include <strings.h>

#include "common/base/util.h"

enum { FLAG_MORE = 1, FLAG_LONG = 2, FLAG_COMMAND = 4 };
enum { TOKEN_KEY = 1 << 3 | 1 }; /* field 1, fixed64 */

static const struct {
    const char *name, *text;
} FAULTS[GATE_FAULTS] = {
    [GATE_FINE] = {"fine", "none"},
    [GATE_GREETING] = {"greeting", "it does not speak ZMTP 3"},
    [GATE_MECHANISM] = {"mechanism", "it asks for a security mechanism other than NULL"},
    [GATE_READY] = {"ready", "its READY is malformed or too large"},
    [GATE_SOCKET_TYPE] = {"socket_type", "its socket is no DEALER"},
    [GATE_IDENTITY] = {"identity", "it chose an identity"},
    [GATE_COMMAND] = {"command", "it sent a command other than PING and PONG"},
    [GATE_FRAMES] = {"frames", "a message has too many frames"},
    [GATE_FRAME_BYTES] = {"frame_bytes", "a frame is too large"},
    [GATE_PAYLOAD] = {"payload", "it sent a payload without a session"},
    [GATE_UNDER_WAY] = {"under_way", "unfinished messages of its session are too large together"},
    [GATE_DESCRIPTORS] = {"descriptors", "it passed descriptors"},
    [GATE_SLOW_HANDSHAKE] = {"slow_handshake", "its handshake took too long"},
    [GATE_SLOW_FRAME] = {"slow_frame", "a message made no progress"},
    [GATE_IDLE] = {"idle", "it was idle without a session"},
    [GATE_CROWDED] = {"crowded", "too many connections have no session"},
    [GATE_VANISHED] = {"vanished", "its host does not answer"},
};

const char *gate_fault_text(enum gate_fault fault)
{
    return FAULTS[fault].text;
}

const char *gate_fault_name(enum gate_fault fault)
{
    return FAULTS[fault].name;
}

/* ---- handshake ---- */

/* As much of the greeting as there is. The one place where mechanisms are chosen. */
static enum gate_fault greeting_judge(const uint8_t *greeting, size_t bytes)
{
    static const uint8_t NULL_MECHANISM[20] = {'N', 'U', 'L', 'L'};
    enum { PADDED = 9, VERSION = 10, MECHANISM = 12 };
    if (greeting[0] != 0xff || (bytes > PADDED && !(greeting[PADDED] & 1)) ||
        (bytes > VERSION && greeting[VERSION] < 3))
        return GATE_GREETING;
    size_t named = bytes > MECHANISM ? MIN(bytes - MECHANISM, sizeof NULL_MECHANISM) : 0;
    return memcmp(greeting + MECHANISM, NULL_MECHANISM, named) ? GATE_MECHANISM : GATE_FINE;
}

static bool named(const uint8_t *name, size_t bytes, const char *wanted)
{
    return bytes == strlen(wanted) && strncasecmp((const char *)name, wanted, bytes) == 0;
}

/* One property, a value of which libzmq would make an identity among them. */
static enum gate_fault property_judge(const uint8_t *name, size_t name_bytes, const uint8_t *value, size_t value_bytes,
                                      bool *dealer)
{
    static const char DEALER[] = "DEALER";
    if (named(name, name_bytes, "Identity") && value_bytes > 0)
        return GATE_IDENTITY;
    if (!named(name, name_bytes, "Socket-Type"))
        return GATE_FINE;
    *dealer = value_bytes == strlen(DEALER) && memcmp(value, DEALER, value_bytes) == 0;
    return *dealer ? GATE_FINE : GATE_SOCKET_TYPE;
}

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static enum gate_fault ready_judge(const uint8_t *body, size_t bytes)
{
    static const char COMMAND[] = "\5READY";
    enum { VALUE_SIZE_BYTES = 4 };
    bool dealer = false;
    size_t at = strlen(COMMAND);
    if (bytes < at || memcmp(body, COMMAND, at) != 0)
        return GATE_READY;
    while (at < bytes) {
        size_t name_bytes = body[at++];
        if (name_bytes == 0 || bytes - at < name_bytes + VALUE_SIZE_BYTES)
            return GATE_READY;
        const uint8_t *name = body + at;
        size_t value_bytes = big_endian(name + name_bytes);
        at += name_bytes + VALUE_SIZE_BYTES;
        if (bytes - at < value_bytes)
            return GATE_READY;
        enum gate_fault fault = property_judge(name, name_bytes, body + at, value_bytes, &dealer);
        if (fault)
            return fault;
        at += value_bytes;
    }
    return dealer ? GATE_FINE : GATE_SOCKET_TYPE;
}

static enum gate_fault command_judge(const uint8_t *body, size_t bytes)
{
    static const char PING[] = "\4PING", PONG[] = "\4PONG";
    const size_t name = sizeof PING - 1, ttl = 2; /* of a PING; libzmq reads it without a look at the size */
    bool ping = bytes >= name + ttl && memcmp(body, PING, name) == 0;
    return ping || (bytes >= name && memcmp(body, PONG, name) == 0) ? GATE_FINE : GATE_COMMAND;
}

/* ---- frames ---- */

static enum gate_fault flags_judge(struct gate_zmtp *z, uint8_t flags)
{
    z->more = flags & FLAG_MORE;
    z->command = flags & FLAG_COMMAND;
    z->size_left = flags & FLAG_LONG ? 8 : 1;
    z->size = 0;
    if (!z->ready && (!z->command || z->more))
        return GATE_READY;
    if (flags & ~(FLAG_MORE | FLAG_LONG | FLAG_COMMAND) || (z->command && z->more))
        return GATE_FRAMES;
    return !z->command && z->frames >= GATE_FRAMES_MAX ? GATE_FRAMES : GATE_FINE;
}

static enum gate_level level_of_message(const struct gate_zmtp *z, gate_level_of level_of)
{
    return z->token ? level_of(z->token) : GATE_STRANGER;
}

/* A header that a peer without a session may not send. */
static enum gate_fault large_header_judge(struct gate_zmtp *z, gate_level_of level_of)
{
    z->unjudged = false;
    switch (level_of_message(z, level_of)) {
    case GATE_JOINED:
        return GATE_FINE;
    case GATE_GREETED:
        z->greeted_bytes += z->size;
        return z->greeted_bytes <= GATE_GREETED_BYTES_MAX ? GATE_FINE : GATE_FRAME_BYTES;
    default:
        return GATE_FRAME_BYTES;
    }
}

static enum gate_fault size_judge(struct gate_zmtp *z, gate_level_of level_of)
{
    if (!z->ready)
        return z->size <= GATE_READY_BYTES_MAX ? GATE_FINE : GATE_READY;
    if (z->command)
        return z->size <= GATE_COMMAND_BYTES_MAX ? GATE_FINE : GATE_COMMAND;
    if (z->frames > 0) {
        if (level_of_message(z, level_of) != GATE_JOINED)
            return GATE_PAYLOAD;
        return z->size <= GATE_PAYLOAD_BYTES_MAX ? GATE_FINE : GATE_FRAME_BYTES;
    }
    z->unjudged = z->size > GATE_STRANGER_BYTES_MAX;
    return z->size <= GATE_HEADER_BYTES_MAX ? GATE_FINE : GATE_FRAME_BYTES;
}

/* The first bytes of a header have come, or it is shorter. */
static enum gate_fault token_take(struct gate_zmtp *z, gate_level_of level_of)
{
    z->token = 0;
    if (z->kept_bytes == GATE_TOKEN_BYTES && z->kept[0] == TOKEN_KEY)
        for (int i = GATE_TOKEN_BYTES - 1; i > 0; i--)
            z->token = z->token << 8 | z->kept[i];
    if (z->token && z->token != z->session && level_of(z->token) != GATE_STRANGER)
        z->session = z->token;
    return z->unjudged ? large_header_judge(z, level_of) : GATE_FINE;
}

static enum gate_fault frame_end(struct gate_zmtp *z, gate_level_of level_of)
{
    enum gate_fault fault = GATE_FINE;
    bool handshake = !z->ready, header = !z->command && z->frames == 0;
    if (handshake) {
        fault = ready_judge(z->kept, z->kept_bytes);
        z->ready = fault == GATE_FINE;
    } else if (z->command) {
        fault = command_judge(z->kept, z->kept_bytes);
    } else if (header && z->size < GATE_TOKEN_BYTES) {
        fault = token_take(z, level_of);
    }
    if (!z->command) {
        z->frames = z->more ? (uint8_t)(z->frames + 1) : 0;
        z->under_way = z->more ? z->under_way : 0;
    }
    z->at = GATE_AT_FLAGS;
    z->done += handshake || !z->command;
    return fault;
}

/* ---- steps: each takes some bytes, at least one, and returns how many ---- */

static size_t keep(struct gate_zmtp *z, const uint8_t *data, size_t bytes, size_t wanted)
{
    size_t n = MIN(bytes, wanted - z->kept_bytes);
    memcpy(z->kept + z->kept_bytes, data, n);
    z->kept_bytes = (uint16_t)(z->kept_bytes + n);
    return n;
}

static size_t take_greeting(struct gate_zmtp *z, const uint8_t *data, size_t bytes)
{
    size_t n = keep(z, data, bytes, GATE_GREETING_BYTES);
    z->fault = greeting_judge(z->kept, z->kept_bytes);
    if (z->kept_bytes == GATE_GREETING_BYTES)
        z->at = GATE_AT_FLAGS;
    return n;
}

static size_t take_size(struct gate_zmtp *z, const uint8_t *data, size_t bytes, gate_level_of level_of)
{
    size_t n = MIN(bytes, (size_t)z->size_left);
    for (size_t i = 0; i < n; i++)
        z->size = z->size << 8 | data[i];
    z->size_left = (uint8_t)(z->size_left - n);
    if (z->size_left > 0)
        return n;
    z->left = z->size;
    z->kept_bytes = 0;
    z->at = GATE_AT_BODY;
    z->fault = size_judge(z, level_of);
    z->under_way += z->command ? 0 : z->size;
    if (z->left == 0 && !z->fault)
        z->fault = frame_end(z, level_of);
    return n;
}

static size_t take_body(struct gate_zmtp *z, const uint8_t *data, size_t bytes, gate_level_of level_of)
{
    size_t n = (size_t)MIN(z->left, (uint64_t)bytes);
    bool header = !z->command && z->frames == 0;
    if (z->command) {
        (void)keep(z, data, n, GATE_READY_BYTES_MAX);
    } else if (header && z->kept_bytes < GATE_TOKEN_BYTES) {
        (void)keep(z, data, n, GATE_TOKEN_BYTES);
        if (z->kept_bytes == GATE_TOKEN_BYTES)
            z->fault = token_take(z, level_of);
    }
    z->left -= n;
    if (z->left == 0 && !z->fault)
        z->fault = frame_end(z, level_of);
    return n;
}

bool gate_zmtp_take(struct gate_zmtp *z, const void *data, size_t bytes, gate_level_of level_of)
{
    const uint8_t *at = data, *end = at + bytes;
    while (at < end && !z->fault) {
        size_t left = (size_t)(end - at);
        switch (z->at) {
        case GATE_AT_GREETING:
            at += take_greeting(z, at, left);
            break;
        case GATE_AT_FLAGS:
            z->at = GATE_AT_SIZE;
            z->fault = flags_judge(z, *at++);
            break;
        case GATE_AT_SIZE:
            at += take_size(z, at, left, level_of);
            break;
        case GATE_AT_BODY:
            at += take_body(z, at, left, level_of);
            break;
        }
    }
    return !z->fault;
}

bool gate_zmtp_unfinished(const struct gate_zmtp *z)
{
    return !z->ready || z->at != GATE_AT_FLAGS || z->frames > 0;
}
