/* A head for a worker that tells what it brings; see play_head.h. */
#include "tests/integration/support/play_head.h"

#include "common/base/mem.h"

const Dp__Header *play_welcome(const Dp__Header *hello)
{
    static Dp__Job job;
    static Dp__Welcome welcome;
    static Dp__Header header;
    job = (Dp__Job)DP__JOB__INIT;
    welcome = (Dp__Welcome)DP__WELCOME__INIT;
    header = (Dp__Header)DP__HEADER__INIT;
    job.model = (char *)"softmax";
    job.slots = 8;
    job.batch = 64;
    job.intercept = true;
    welcome.protocol_major = FRAME_MAJOR;
    welcome.protocol_minor = FRAME_MINOR;
    welcome.heartbeat_ms = 1000;
    welcome.lease_ms = 10000;
    welcome.frame_bytes_max = SLICE_BYTES;
    welcome.job = &job;
    header.session = header.incarnation = 1;
    header.request = hello->request;
    header.body_case = DP__HEADER__BODY_WELCOME;
    header.welcome = &welcome;
    return &header;
}

void *message_copy(const ProtobufCMessage *message)
{
    AUTOFREE uint8_t *bytes = mem_array(protobuf_c_message_get_packed_size(message) + 1, 1);
    size_t n = bytes ? protobuf_c_message_pack(message, bytes) : 0;
    return bytes ? protobuf_c_message_unpack(message->descriptor, NULL, n, bytes) : NULL;
}
