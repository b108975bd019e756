/* Any bytes of a peer, behind a good handshake or without one: passed or refused, and the same whichever pieces they
 * come in. */
#include <string.h>

#include "common/base/util.h"
#include "server/zmtp/zmtp.h"
#include "tests/fuzz/fuzz.h"

static const uint8_t HANDSHAKE[] = {0xff, 0,   0,   0,   0,   0,   0,   0,   1,   0x7f, 3,   0,   'N', 'U', 'L', 'L',
                                    0,    0,   0,   0,   0,   0,   0,   0,   0,   0,    0,   0,   0,   0,   0,   0,
                                    0,    0,   0,   0,   0,   0,   0,   0,   0,   0,    0,   0,   0,   0,   0,   0,
                                    0,    0,   0,   0,   0,   0,   0,   0,   0,   0,    0,   0,   0,   0,   0,   0,
                                    4,    28,  5,   'R', 'E', 'A', 'D', 'Y', 11,  'S',  'o', 'c', 'k', 'e', 't', '-',
                                    'T',  'y', 'p', 'e', 0,   0,   0,   6,   'D', 'E',  'A', 'L', 'E', 'R'};

/* By a token's lowest byte. */
static enum gate_level level_of(uint64_t token)
{
    return (enum gate_level)(token % 3);
}

static void check(const struct gate_zmtp *zmtp)
{
    FUZZ_ASSERT(zmtp->fault < GATE_SLOW_HANDSHAKE);
    FUZZ_ASSERT(zmtp->kept_bytes <= sizeof zmtp->kept);
    FUZZ_ASSERT(gate_fault_text(zmtp->fault)[0] && gate_fault_name(zmtp->fault)[0]);
    if (zmtp->fault)
        return;
    FUZZ_ASSERT(zmtp->frames < GATE_FRAMES_MAX + 1);
    FUZZ_ASSERT(zmtp->left <= GATE_PAYLOAD_BYTES_MAX);
    FUZZ_ASSERT(zmtp->session == 0 || level_of(zmtp->session) != GATE_STRANGER);
}

static void take(struct gate_zmtp *zmtp, const uint8_t *data, size_t bytes, size_t piece)
{
    for (size_t at = 0, n; at < bytes; at += n) {
        n = MIN(piece, bytes - at);
        bool fine = gate_zmtp_take(zmtp, data + at, n, level_of);
        FUZZ_ASSERT(fine == (zmtp->fault == GATE_FINE));
        check(zmtp);
    }
}

static void compare(const uint8_t *data, size_t bytes, bool handshake)
{
    static const size_t PIECES[] = {1, 2, 7, 9, 64, 8192};
    struct gate_zmtp whole = {0};
    if (handshake)
        take(&whole, HANDSHAKE, sizeof HANDSHAKE, sizeof HANDSHAKE);
    FUZZ_ASSERT(whole.ready == handshake);
    struct gate_zmtp begun = whole;
    take(&whole, data, bytes, MAX(bytes, (size_t)1));
    for (size_t i = 0; i < ARRAY_LEN(PIECES); i++) {
        struct gate_zmtp pieces = begun;
        take(&pieces, data, bytes, PIECES[i]);
        FUZZ_ASSERT(pieces.fault == whole.fault && pieces.session == whole.session && pieces.done == whole.done);
        FUZZ_ASSERT(gate_zmtp_unfinished(&pieces) == gate_zmtp_unfinished(&whole));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    compare(data, bytes, false);
    compare(data, bytes, true);
    return 0;
}
