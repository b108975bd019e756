/* A worker by hand; see by_hand.h. */
#include "tests/integration/support/by_hand.h"

#include <criterion/criterion.h>

void meet(const char *endpoint, struct who *a, struct who *b)
{
    peer_connect(&a->head, endpoint, 0);
    peer_connect(&b->head, endpoint, 0);
}

void part(struct who *a, struct who *b)
{
    peer_close(&a->head);
    peer_close(&b->head);
}

Dp__Header header_of(struct who *who, Dp__Header__BodyCase body, void *message)
{
    Dp__Header header = DP__HEADER__INIT;
    header.session = who->session;
    header.incarnation = who->incarnation;
    header.request = ++who->request;
    header.body_case = body;
    header.hello = message;
    return header;
}

Dp__Hello hello_of(const char *name, uint64_t worker, uint32_t pid)
{
    Dp__Hello hello = DP__HELLO__INIT;
    hello.magic = FRAME_MAGIC;
    hello.protocol_major = FRAME_MAJOR;
    hello.worker = worker;
    hello.name = (char *)name;
    hello.numerics = (char *)"any";
    hello.pid = pid;
    return hello;
}

const Dp__Header *say_hello_again(struct who *who, Dp__Hello *hello)
{
    who->incarnation = 0;
    Dp__Header header = header_of(who, DP__HEADER__BODY_HELLO, hello);
    const Dp__Header *answer = peer_ask(&who->head, &header, NULL, 0);
    if (answer->body_case == DP__HEADER__BODY_WELCOME) {
        who->session = answer->session;
        who->incarnation = answer->incarnation;
    }
    return answer;
}

const Dp__Header *say_hello(struct who *who, Dp__Hello *hello)
{
    who->session = 0;
    return say_hello_again(who, hello);
}

void come(struct who *who, const char *name, uint64_t worker, uint32_t pid)
{
    Dp__Hello hello = hello_of(name, worker, pid);
    cr_assert_eq(say_hello(who, &hello)->body_case, DP__HEADER__BODY_WELCOME);
}

/* Sends the Join, and waits for the answer if it is wanted. */
static const Dp__Header *say_join(struct who *who, uint64_t rows, bool wait, bool *ret_sent)
{
    uint64_t shape[] = {4};
    Dp__Tensor weight = DP__TENSOR__INIT, *tensors[] = {&weight};
    Dp__Dataset train = DP__DATASET__INIT;
    Dp__Join body = DP__JOIN__INIT;
    weight.name = (char *)"weight";
    weight.n_shape = 1;
    weight.shape = shape;
    train.rows = rows;
    train.features = 4;
    train.name = (char *)"by-hand";
    body.train = &train;
    body.n_tensors = 1;
    body.tensors = tensors;
    Dp__Header header = header_of(who, DP__HEADER__BODY_JOIN, &body);
    *ret_sent = wait || peer_send(&who->head, &header, NULL, 0);
    return wait ? peer_ask(&who->head, &header, NULL, 0) : NULL;
}

const Dp__Header *ask_to_join(struct who *who, uint64_t rows)
{
    bool sent;
    return say_join(who, rows, true, &sent);
}

bool send_join(struct who *who)
{
    bool sent;
    (void)say_join(who, BY_HAND_ROWS, false, &sent);
    return sent;
}

void join(struct who *who)
{
    const Dp__Header *answer = ask_to_join(who, BY_HAND_ROWS);
    cr_assert_eq(answer->body_case, DP__HEADER__BODY_JOINED, "%s",
                 answer->body_case == DP__HEADER__BODY_ERROR ? answer->error->text : "");
}

void leave(struct who *who)
{
    Dp__Bye bye = DP__BYE__INIT;
    Dp__Header header = header_of(who, DP__HEADER__BODY_BYE, &bye);
    cr_assert(peer_send(&who->head, &header, NULL, 0));
}

Dp__Header__BodyCase beat(struct who *who)
{
    Dp__Heartbeat body = DP__HEARTBEAT__INIT;
    Dp__Header header = header_of(who, DP__HEADER__BODY_HEARTBEAT, &body);
    return peer_ask(&who->head, &header, NULL, 0)->body_case;
}
