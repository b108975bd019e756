/* The bytes of one connection as ZMTP 3 (rfc.zeromq.org/spec/23), judged while they arrive: greeting, READY, then
 * frames, each by its size and by who sends it. Nothing is copied but a handshake, and the first bytes of a message,
 * which have its session (Header.session is field 1 and comes first). Knows no sockets and no clock. Thread: any; a
 * parser belongs to one. */
#ifndef DP_SERVER_ZMTP_ZMTP_H
#define DP_SERVER_ZMTP_ZMTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/frame.h"

/* Why a connection is closed. The first ones are the parser's, the others are of gate.h. */
enum gate_fault {
    GATE_FINE,
    GATE_GREETING,    /* no greeting of ZMTP 3 or later */
    GATE_MECHANISM,   /* another one than NULL */
    GATE_READY,       /* no READY, or one that is too large or malformed */
    GATE_SOCKET_TYPE, /* not DEALER */
    GATE_IDENTITY,    /* chosen by the peer */
    GATE_COMMAND,     /* neither PING nor PONG after READY, or one that is too large */
    GATE_FRAMES,      /* a message has too many, or a flag that there is none of */
    GATE_FRAME_BYTES, /* a frame is too large, for whom it is of */
    GATE_PAYLOAD,     /* from a peer without a session */
    GATE_UNDER_WAY,   /* gate.h's from here on: unfinished messages of a session are too large together */
    GATE_DESCRIPTORS, /* passed by a Unix socket */
    GATE_SLOW_HANDSHAKE,
    GATE_SLOW_FRAME,
    GATE_IDLE,
    GATE_CROWDED,
    GATE_VANISHED,
    GATE_FAULTS
};

/* Sessions by what they may send; sessions.h. */
enum gate_level { GATE_STRANGER, GATE_GREETED, GATE_JOINED };

enum {
    GATE_GREETING_BYTES = 64,
    GATE_READY_BYTES_MAX = 512,
    GATE_COMMAND_BYTES_MAX = 64, /* a PING has 23 at most */
    GATE_FRAMES_MAX = 5,         /* of a message: a header, three payloads (RowsPushPull), and one to spare */
    /* Largest header of a peer without a session: a hello, a status_request, set or export with names and a proof. */
    GATE_STRANGER_BYTES_MAX = 2 << 10,
    GATE_HEADER_BYTES_MAX = FRAME_HEADER_BYTES_MAX + 4096,
    GATE_PAYLOAD_BYTES_MAX = FRAME_ROWS_BYTES_MAX + 4096,
    /* Larger headers of a session that has not joined, in all by one connection: a Join, some times. */
    GATE_GREETED_BYTES_MAX = 8 * FRAME_HEADER_BYTES_MAX,
    GATE_TOKEN_BYTES = 9, /* a message's session at its beginning, with the field's key */
};

struct gate_zmtp {
    enum { GATE_AT_GREETING, GATE_AT_FLAGS, GATE_AT_SIZE, GATE_AT_BODY } at;
    enum gate_fault fault; /* the first; nothing is looked at after it */
    bool ready;            /* READY has come */
    bool more, command;    /* of the frame at hand */
    bool unjudged;         /* the size of the header at hand needs a session, whose token has not come yet */
    uint8_t size_left;     /* bytes of the size to come */
    uint8_t frames;        /* of the message at hand, that are whole */
    uint16_t kept_bytes;   /* in kept */
    uint64_t size, left;   /* of the frame at hand, and what of it is to come */
    uint64_t token;        /* of the message at hand; 0: none, or not known yet */
    uint64_t under_way; /* bytes of the message at hand, its frame at hand as it was announced; 0: between messages */
    uint64_t session;   /* the last token that was a session's; 0: none */
    uint64_t greeted_bytes; /* of GATE_GREETED_BYTES_MAX */
    uint64_t done;          /* the handshake, and frames that are whole: this changes as one ends */
    uint8_t kept[GATE_READY_BYTES_MAX];
};

/* Level of a token other than 0; called once a frame. */
typedef enum gate_level (*gate_level_of)(uint64_t token);

/* Takes what was read from the connection; zero-initialize *zmtp before the first bytes. False: the peer is to be cut
 * off, zmtp->fault says why. */
bool gate_zmtp_take(struct gate_zmtp *zmtp, const void *data, size_t bytes, gate_level_of level_of);
/* Whether something has begun that is not whole: the handshake, a frame, or a message that has more. */
bool gate_zmtp_unfinished(const struct gate_zmtp *zmtp);
/* For people: "chosen identity". */
const char *gate_fault_text(enum gate_fault fault);
/* In the status document: "identity". */
const char *gate_fault_name(enum gate_fault fault);

#endif
