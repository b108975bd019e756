/* Hellos and requests that need a proof; see server/members/guard.h. Thread: head. */
#include "server/talk/guard.h"

#include <stdio.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/text.h"
#include "server/talk/shared.h"
#include "server/talk/talk.h"

/* ---- start and end ---- */

bool head_guards_hello(const struct head *head)
{
    return head->opts->loopback && !head->opts->users_all;
}

bool head_guards_admin(const struct head *head)
{
    return head->opts->loopback ? !head->opts->users_all : !head->opts->insecure_admin;
}

/* Beyond loopback a server works without a secret, but then nobody can change its job. */
dp_err head_guard_start(struct head *head, dp_error *err)
{
    const struct server_options *opts = head->opts;
    const struct guard_config config = {.secret_file = opts->secret_file,
                                        .secret_needed = opts->loopback,
                                        .users = opts->users,
                                        .user_count = opts->user_count};
    if (!head_guards_hello(head) && !head_guards_admin(head))
        return DP_OK;
    dp_err e = guard_new(&config, &head->guard, err);
    if (!e && opts->user_count)
        e = guard_door_open(&head->door, &head->loop, head->guard, err);
    if (!e && guard_path(head->guard)[0])
        log_info("secret file=\"%s\"", guard_path(head->guard));
    else if (!e)
        log_warn("no-secret reason=\"no request can change this job: %s\"", err->text);
    return e;
}

/* ---- answers ---- */

static struct guard_asker asker_of(const struct routing_id *route, const Dp__Header *request)
{
    bool hello = request->body_case == DP__HEADER__BODY_HELLO;
    return (struct guard_asker){
        .route = route->id,
        .route_bytes = route->bytes,
        .claim = {.purpose = (uint32_t)request->body_case, .worker = hello ? request->hello->worker : 0},
        .user = request->user};
}

static void challenge(struct head *head, const struct routing_id *route, const Dp__Header *request)
{
    const struct guard_asker asker = asker_of(route, request);
    uint8_t nonce[PROOF_NONCE_BYTES];
    char text[FRAME_TEXT_MAX + 1], clean[FRAME_TEXT_MAX + 1];
    snprintf(text, sizeof text,
             "prove that you are of %s, whose dp-server this is; a client that cannot is of another version of dp: "
             "install the same one on both",
             guard_user(head->guard));
    text_clean(clean, sizeof clean, text);
    guard_challenge(head->guard, &asker, mono_ms(), nonce);
    Dp__Error error = DP__ERROR__INIT;
    error.code = DP_REFUSED;
    error.text = clean;
    error.challenge = (ProtobufCBinaryData){.len = sizeof nonce, .data = nonce};
    error.door = head->door.name;
    Dp__Header header = DP__HEADER__INIT;
    header.request = request->request;
    header.session = request->session;
    header.body_case = DP__HEADER__BODY_ERROR;
    header.error = &error;
    log_debug("challenge uid=%lu", (unsigned long)request->user);
    if (head_send(head, route, &header, NULL))
        log_debug("challenge-lost");
}

/* Why, and what to do about it. `who` was refused. */
static void explain(const struct head *head, const char *who, uint32_t user, char *text, size_t size)
{
    const struct guard *guard = head->guard;
    const char *path = guard_path(guard)[0] ? guard_path(guard) : "(none could be made)";
    size_t at = 0;
    if (!head->opts->loopback)
        str_append(text, size, &at,
                   "%s is refused: dp-server listens beyond its host and nothing protects it (--insecure); ask on its "
                   "host as %s, or start dp-server with --insecure-admin (its secret: %s)",
                   who, guard_user(guard), path);
    else if (user == guard_uid(guard))
        str_append(text, size, &at,
                   "%s is refused: it is of %s as this dp-server, but has another secret; where HOME or the container "
                   "differ, give both the same DP_SECRET_FILE, or start dp-server with --allow-users all (its secret: "
                   "%s)",
                   who, guard_user(guard), path);
    else
        str_append(text, size, &at,
                   "%s of uid %lu is refused: this dp-server takes workers and requests of %s%s only; run it as that "
                   "user, or start dp-server with --allow-users %lu (or all); in containers give both the same "
                   "DP_SECRET_FILE (its secret: %s)",
                   who, (unsigned long)user, guard_user(guard), head->opts->user_count ? " and of --allow-users" : "",
                   (unsigned long)user, path);
}

static void refuse(struct head *head, const struct routing_id *route, const Dp__Header *request, const char *who)
{
    char text[FRAME_TEXT_MAX + 1];
    explain(head, who, request->user, text, sizeof text);
    if (head_may_warn(head))
        log_warn("stranger-refused uid=%lu reason=\"%s\"", (unsigned long)request->user, text);
    head_refuse(head, route, request, DP_REFUSED, text);
}

/* Whether the sender is known; else it has been answered. */
static bool admit(struct head *head, const struct routing_id *route, const Dp__Header *request, const char *who)
{
    const struct guard_asker asker = asker_of(route, request);
    enum guard_verdict verdict = GUARD_STALE;
    if (request->proof.len == PROOF_BYTES)
        verdict = guard_judge(head->guard, &asker, request->proof.data, mono_ms());
    if (verdict == GUARD_STALE)
        challenge(head, route, request);
    else if (verdict == GUARD_WRONG)
        refuse(head, route, request, who);
    return verdict == GUARD_KNOWN;
}

bool head_may_join(struct head *head, const struct routing_id *route, const Dp__Header *request)
{
    char who[FRAME_NAME_MAX + 16];
    bool asked = head->talk.post && head->talk.reading->about == ABOUT_HELLO; /* it was put off behind this */
    if (asked || !head_guards_hello(head))
        return true;
    snprintf(who, sizeof who, "worker '%.100s'", request->hello->name);
    return admit(head, route, request, who);
}

bool head_may_admin(struct head *head, const struct routing_id *route, const Dp__Header *request)
{
    return !head_guards_admin(head) || admit(head, route, request, "this request");
}
