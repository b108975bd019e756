/* The head: what is global to a job. Membership and slots, the steps complete on all shards, the end, local workers,
 * status. It is not on the data path. One thread, one uv loop.
 *
 * States: WAITING (for the first worker's data) -> RUNNING -> EXPORTING -> DONE -> CLOSING; a signal or a failure leads
 * from any of them by STOPPING to CLOSING.
 *
 * Invariants:
 *   1. global_low = min over the shards that hold parameters of their low; it never goes back; each step's metrics are
 * reported once, in order.
 *   2. With a member in state JOINED, each slot of the open step and of those after it has an owner that is one.
 *   3. A session is known to all shards before its worker is told of them.
 * Thread: head. */
#ifndef DP_SERVER_HEAD_HEAD_H
#define DP_SERVER_HEAD_HEAD_H

#include <jansson.h>
#include <uv.h>

#include "server/deal/dealer.h"
#include "server/assign/balance.h"
#include "server/host/supervise.h"
#include "server/host/ticks.h"
#include "server/job/job.h"
#include "server/members/answers.h"
#include "server/members/crowd.h"
#include "server/members/guard.h"
#include "server/members/members.h"
#include "server/net/thread.h"
#include "server/show/progress.h"
#include "server/step/block_sums.h"
#include "server/step/report.h"

/* For a loss that is no number any more. */
#define DIVERGED_REMEDY "scale the features, or use a smaller --lr"

enum head_state { HEAD_WAITING, HEAD_RUNNING, HEAD_EXPORTING, HEAD_DONE, HEAD_STOPPING, HEAD_CLOSING };

struct fetches; /* fetch.c */

struct head {
    const struct server_options *opts;
    enum head_state state;
    int exit_status;
    char endpoint[PORT_ENDPOINT_MAX];

    uv_loop_t loop;
    void *zmq;
    struct zuv zuv;
    uv_async_t wake; /* shards have events */
    uv_timer_t tick;
    struct storm storm;
    uv_timer_t deal_timer; /* runs while members have changed and slots are not dealt anew */
    uint64_t dealt_ms;     /* when they last were */
    uv_timer_t end;        /* DONE, STOPPING: when the process ends at the latest */
    uv_signal_t on_term, on_int, on_hup, on_child;
    struct arena arena;
    struct log_limit malformed_limit, peer_limit, info_limit;
    uint64_t malformed;

    struct guard *guard; /* NULL where nobody has to prove anything */
    struct guard_door door;
    struct job job;
    struct members members;
    struct dealer dealer;
    struct balance balance;
    struct deal *granted; /* that all shards were told; NULL: there is none */
    struct ranks ranks;
    struct owed owed;
    struct drop drop;
    struct exchange exchange;
    struct report report;
    struct control control;
    uint64_t lr_sets;  /* learning rates that were set */
    double *pull_sums; /* scratch of the multipliers, NULL where there are none */
    uint32_t *numbers; /* [SESSIONS_MAX] scratch */

    uint32_t port_count;
    struct port *ports;                   /* [port_count] */
    char (*endpoints)[PORT_ENDPOINT_MAX]; /* [port_count] as workers are told */
    uint64_t *lows;                       /* [port_count] steps complete on each shard */
    uint64_t fences, all_fenced;          /* sessions that were ended, and those of which all shards know */
    uint32_t first_port;                  /* the shard whose metrics count */
    uint32_t arrival_port;                /* the shard that tells what has arrived */
    uint64_t global_low;
    struct metrics metrics[SLICE_VERSIONS]; /* of steps >= global_low, at step % SLICE_VERSIONS */

    bool alone;           /* the job waits for a worker, and the log says so */
    bool crowded;         /* no descriptors are left, and the log says so */
    uint64_t turned_away; /* connections for which there were none, at the last tick */
    struct crowd crowd;
    bool diverged; /* a step's loss was not finite, and which training step's first */
    uint64_t diverged_step;
    uint64_t
        infinite_from; /* 1 + the first step whose loss, theta or state is not finite, as any shard says; 0: none */
    char blamed[256];  /* whose gradient was the first that is not finite, for people; "": not known */
    uint64_t low_seen; /* global_low at the last tick */
    struct ticks ticks;
    uint64_t moved_ms; /* when global_low last moved, or slots of the open step last went to somebody else */
    struct stall stall;
    uint64_t started_ms;
    uint64_t running_ms; /* when the first step could begin */
    uint64_t ended_ms;   /* when DONE or STOPPING was entered, or else CLOSING */

    struct progress progress;
    struct supervise *supervise;
    struct saving saving;
    bool exporting; /* until the model is written, or is given up */
    uint64_t pins;  /* numbers given to pins so far */
    struct fetches *fetches;
    struct ending ending;
    struct doubts doubts;
    bool handles_started, zuv_started;
    struct answers answers;
    struct answer_text *status; /* as it was made last, NULL: it must be */
    uint64_t status_until_ns;   /* so long it is sent to others as well */
    struct post *post;          /* what the one shard's port passes on; NULL: the head has a socket, zuv */
    struct letter *reading;     /* the letter at hand; NULL: it was put off */
    int came_by;                /* descriptor of the connection by which the message at hand came; -1: not known */
    uint64_t turn_ms;           /* when the port was asked for its turn; 0: it has had it */
};

/* Runs a server from start to end; returns the process's exit status. Errors have been logged. */
int head_run(const struct server_options *opts);

/* ---- for the files of the head only ---- */

/* hello.c: workers say hello. */
void head_on_hello(struct head *head, const struct routing_id *route, const Dp__Header *request);
/* Why nobody is taken in now; DP_OK if one is. */
DP_MUST_CHECK dp_err head_admission(const struct head *head, dp_error *err);
/* Whether the job's numerics are those of workers that have joined: who only says hello decides nothing. */
bool head_numerics_bound(const struct head *head);
/* Whether --max-workers has room for one more. DP_BUSY. */
DP_MUST_CHECK dp_err head_room(const struct head *head, dp_error *err);
/* Says in the log why a worker was refused. */
void head_log_refusal(struct head *head, const char *name, const dp_error *err);

/* messages.c: what clients say. */
void head_on_message(void *arg, zmq_msg_t *frames, size_t count);
dp_err head_send(struct head *head, const struct routing_id *route, Dp__Header *header, zmq_msg_t *payload);
/* The same of a message to a member, about which the head may hear later that it could not be sent. */
dp_err head_send_about(struct head *head, enum letter_about about, const struct member *member, Dp__Header *header);
/* Answers a request. */
void head_reply(struct head *head, const struct routing_id *route, const Dp__Header *request, Dp__Header *header);
/* Answers a request with an error. */
void head_refuse(struct head *head, const struct routing_id *route, const Dp__Header *request, dp_err code,
                 const char *text);
/* How often members are to be heard of. */
uint64_t head_heartbeat_ms(const struct head *head);
/* Tells all members JOB_DONE, SHUTDOWN, or why the job has failed. */
void head_notice(struct head *head, dp_err code, const char *text);

/* Whether one more warning about what a peer did may be logged now: peers must not be able to flood the log. */
bool head_may_warn(struct head *head);
/* The same of one more line that is no warning, about a worker that comes or goes. */
bool head_may_inform(struct head *head);

/* guard.c: who may. */
/* Reads the secret, and opens the door of --allow-users. */
DP_MUST_CHECK dp_err head_guard_start(struct head *head, dp_error *err);
/* Whether hellos, and requests that change the job or take the model, must be proved. */
bool head_guards_hello(const struct head *head);
bool head_guards_admin(const struct head *head);
/* Whether the sender of a hello may join; of any request that is for the server's user alone (set), whether it may ask
 * that. False: it has been answered, with a challenge or a refusal. */
bool head_may_join(struct head *head, const struct routing_id *route, const Dp__Header *request);
bool head_may_admin(struct head *head, const struct routing_id *route, const Dp__Header *request);

/* slots.c: who computes what. */
void head_deal(struct head *head);
/* Members have changed: deals at once, or where many come and go, a little later for all of them. */
void head_deal_soon(struct head *head);
/* A member has joined: where many do, it is a guest at first. */
void head_receive(struct head *head, struct member *member);
/* Tells a member its slots, and all of them. */
void head_assign(struct head *head, uint32_t number);
/* What came of sending a member its slots; where its queue was full they are sent again, every tick. */
void head_assigned(struct head *head, struct member *member, dp_err e);
void head_assign_all(struct head *head);
/* Tells a member its slots, and one more of a step to come, which another one holds too. */
DP_MUST_CHECK dp_err head_assign_probe(struct head *head, uint32_t number, uint64_t step, uint32_t slot);
/* Tells a member how far the job is; whether its connection takes it, as far as that is known at once. */
bool head_reachable(struct head *head, const struct member *member);
dp_err head_probe(struct head *head, const struct member *member, enum letter_about about);
/* Its connection is gone. */
void head_lose_unconnected(struct head *head, struct member *member);
/* In a job of workers with data of their own, it has delivered nothing for so long. */
void head_lose_stalled(struct head *head, struct member *member, uint64_t for_s);
/* The member is gone: its token is void, its slots go to others. */
void head_fence(struct head *head, struct member *member, const char *reason);
/* Tells the shards of the sessions whose end all of them know. */
void head_see_fences(struct head *head);
/* Leases, probes and stalls; every HEAD_TICK_MS. */
void head_watch(struct head *head, uint64_t now_ms);

/* grants.c: tells the shards who may push what, unless they know it. Called before workers are told their slots,
 * who are not told where it fails. DP_NOMEM, DP_BUSY. */
DP_MUST_CHECK dp_err head_grant(struct head *head);
/* The same with a slot of a step to come, for a member that another one holds it beside. */
DP_MUST_CHECK dp_err head_grant_probe(struct head *head, uint32_t number, uint64_t step, uint32_t slot);
/* The deal that the shards know is void. */
void head_grant_forget(struct head *head);

/* post.c: with one shard, the head speaks through its port. DP_NOMEM. */
DP_MUST_CHECK dp_err head_post_start(struct head *head, dp_error *err);
/* Once the port has ended. */
void head_post_fini(struct head *head);
/* Takes the frames. DP_BUSY, DP_NOMEM, DP_SHUTDOWN. */
DP_MUST_CHECK dp_err head_post_send(struct head *head, enum letter_about about, uint64_t session, zmq_msg_t *frames,
                                    size_t count);
/* Whether the hello or join at hand is put off until it is known if its namesake (NULL: there is none), and those that
 * head_look_for_members is about, are still connected. */
bool head_post_ask(struct head *head, const struct member *namesake);
/* Reads what has come. */
void head_post_read(struct head *head);
/* Every tick: whether the port has had no turn for long, so that nobody can be heard. */
bool head_post_stuck(struct head *head, uint64_t now_ms);

/* stall.c: steps that wait for too long. */
/* Every tick. */
void head_stall_watch(struct head *head, uint64_t now_ms);
/* global_low has moved. */
void head_stall_over(struct head *head);
/* All shards have answered what they are owed. */
void head_stall_on_owed(struct head *head);
/* Reports the slots that the open step is owed, and does what --on-stall says, unless they are dropped. */
void head_stall_owed(struct head *head, const uint32_t *owed, uint32_t count, bool dropped);
/* The open step: how long it waits, and for whom; a new reference. */
json_t *head_waits_json(const struct head *head);

/* moving.c: the open step has waited for the stall time-out: whether a worker that owes slots of it says that
 * their bytes are on their way. It is looked at again a second later then. */
bool head_moving_put_off(struct head *head, uint64_t now_ms);

/* owed.c: what the shards are owed. */
DP_MUST_CHECK dp_err head_owed_start(struct head *head);
void head_owed_fini(struct head *head);
/* Asks them; head_drop_on_owed or head_stall_on_owed is called once, when all have answered. */
void head_owed_ask(struct head *head, uint64_t step);
void head_on_owed(struct head *head, const struct event *event);
/* The slots that any of them is owed, ascending, to slots[]; returns how many. */
uint32_t head_owed_list(const struct head *head, uint32_t *slots);

/* balance.c: speeds, deals by them, late slots. */
DP_MUST_CHECK dp_err head_balance_init(struct head *head);
void head_balance_fini(struct head *head);
/* The job is settled. DP_NOMEM. */
DP_MUST_CHECK dp_err head_balance_start(struct head *head);
/* It is no longer. */
void head_balance_stop(struct head *head);
/* How many workers must come for the job to go on: those of --min-workers, at least one, that have neither joined nor
 * finished; and whether none must. */
uint64_t head_missing(const struct head *head);
bool head_has_enough(const struct head *head);
/* The members that slots are dealt to (none while there are not enough), with their speeds, to balance.dealt; returns
 * how many. */
uint32_t head_balance_members(struct head *head);
/* How many steps after the open one may be begun beside it. */
uint32_t head_ahead(const struct head *head);
/* What a heartbeat says of its member's speed. */
void head_measure(struct member *member, const Dp__Heartbeat *beat);
void head_on_arrivals(struct head *head);
/* global_low has moved. */
void head_balance_open(struct head *head);
/* Slots [*ret_first, *ret_end) that a node of the tree covers, by its heap number. */
void head_node_slots(const struct head *head, uint32_t node, uint32_t *ret_first, uint32_t *ret_end);
/* The open step's slots were dealt. */
void head_balance_dealt(struct head *head);
/* Every tick. */
void head_balance_watch(struct head *head, uint64_t now_ms);
/* Gives late slots to the idle. */
void head_speculate(struct head *head);
json_t *head_balance_json(const struct head *head);

/* hung.c: workers that deliver nothing. */
/* Deals anew where others are hung than at the last deal. */
void head_hung_deal(struct head *head);
/* Every tick: probes, and what is said. */
void head_hung_watch(struct head *head, uint64_t now_ms);
/* Whether nobody is left that delivers: it need not be waited for. */
bool head_hung_all(const struct head *head);
/* A member says that it goes on: it is probed again soon. */
void head_hung_heard(struct member *member);

/* steps.c: the job becomes whole, and its steps complete. */
dp_err head_settle(struct head *head, const Dp__Join *join, dp_error *err);
/* reopen.c: a job that has not begun is settled anew by other data once its workers are gone. */
/* Whether the job is settled and has not begun: no step is complete. */
bool head_unbegun(const struct head *head);
/* Likewise, and nobody is left of those who settled it: who says hello is told of no settled job. */
bool head_vacant(const struct head *head);
/* Of a job that has not begun: whether its members are gone is found out when another worker comes; where the port must
 * be asked, it says so later (head_post_ask). */
bool head_looks_for_members(const struct head *head);
void head_look_for_members(struct head *head);
/* Of a vacant job: forgets what settled it. All who have said hello must say it again. */
void head_reopen(struct head *head, const char *reason);

/* No step will follow: the model is written, and the job is done. */
void head_steps_over(struct head *head);
/* Whether the shard holds a part of theta. */
bool head_has_parameters(const struct head *head, uint32_t port);
/* Sends a command that must arrive, else the job fails; what it carries is freed then. */
void head_command(struct head *head, uint32_t port, struct command *command);
/* Whether all shards know the session; else none does. */
bool head_open_session(struct head *head, const struct member *member);
/* Ends a session on the first `ports` shards, by the latest fence. */
void head_close_session(struct head *head, uint64_t token, uint32_t ports);
void head_on_wake(uv_async_t *wake);

/* save.c: the model is written. */
/* Before the job: what can be known of --export FILE. DP_IO. */
DP_MUST_CHECK dp_err head_export_check(struct head *head, dp_error *err);
/* The model's size is known: whether there is room for it. DP_IO. */
DP_MUST_CHECK dp_err head_export_check_room(const struct head *head, dp_error *err);
/* Asks the shards for their parts of theta at a step that all of them hold. */
void head_export_at(struct head *head, uint64_t step);
void head_on_pinned(struct head *head, uint32_t shard, struct event *event);
/* Asks all shards for theta at a step; the events have the number that is returned, 0 where one has too much to do. */
uint64_t head_pin(struct head *head, uint64_t step);
/* Every tick: another try where the last one failed. */
void head_export_watch(struct head *head, uint64_t now_ms);
/* No further try is made. */
void head_export_give_up(struct head *head);
void head_export_fini(struct head *head);
/* What the status says of it; a new reference. */
json_t *head_export_json(const struct head *head);
/* EXPORTING is over. */
void head_finish(struct head *head, bool exported);

/* doubts.c: warnings about the training. */
/* The job is settled. */
void head_doubts_begin(struct head *head);
/* A step is complete: sums over its samples. */
void head_doubts_step(struct head *head, const struct plan_step *at, const struct metrics *m);
/* No step will follow. */
void head_doubts_end(struct head *head);
/* The texts; a new reference. */
json_t *head_doubts_json(const struct head *head);

/* fetch.c: dp-ctl export. */
/* Whether the question belongs to a fetch that this connection has begun, and has proved then what it has to. */
bool head_fetch_known(const struct head *head, const struct routing_id *route, const Dp__Export *asked);
void head_on_export(struct head *head, const struct routing_id *route, const Dp__Header *request);
/* Whether the pins were those of a fetch, which has taken them then. */
bool head_fetch_pinned(struct head *head, uint32_t shard, struct event *event);
/* Every tick. */
void head_fetch_watch(struct head *head, uint64_t now_ms);
/* Whether a model is being fetched just now, or written. */
bool head_fetching(const struct head *head);
/* Lets go of what is not fetched just now, before what it refers to, the job, is freed. */
void head_fetch_fini(struct head *head);

/* end.c: closing, signals. */
/* What --json is to end with, unless that is known already. */
void head_ends_with(struct head *head, const char *event, const char *reason);
/* The last object of --json, once. */
void head_tell_end(struct head *head);
void head_fail(struct head *head, const dp_error *err);
/* Ends local workers, then all handles, and with them the loop. */
void head_close(struct head *head);
/* A state, a member or an export is over: the process ends once nobody is left to be told, or they had their time. */
void head_see_end(struct head *head);
void head_on_supervise_ended(void *arg);
void head_on_tick(uv_timer_t *tick);
void head_on_signal(uv_signal_t *handle, int number);
/* A child has ended: where orphans fall to this process, they are reaped. */
void head_on_child(uv_signal_t *handle, int number);

/* crowd.c: descriptors that run short. */
/* The server listens, and has no peers yet. */
void head_crowd_start(struct head *head);
/* Whether there are descriptors for one more worker: DP_BUSY, with what to do. */
DP_MUST_CHECK dp_err head_crowd_admit(struct head *head, dp_error *err);
/* Every tick. */
void head_crowd_watch(struct head *head);

/* sums.c: sums over all shards. */
DP_MUST_CHECK dp_err head_start_exchange(struct head *head);
void head_on_sums(struct head *head, uint32_t shard, struct event *event);
void head_end_exchange(struct head *head);
/* What the update is, and its last report, for the status; new references. */
json_t *head_update_json(const struct head *head);
json_t *head_report_json(const struct head *head);

/* counters.c: what the shards have done so far, for the status (a new reference), and in words. */
json_t *head_shards_json(const struct head *head);
/* Connections that the gate has closed, by kind, and strangers; a new reference. */
json_t *head_gate_json(void);
void head_print_counters(const struct head *head, FILE *out);

/* consistency.c: whether the job can go on with another mode (DP_USAGE, DP_REFUSED); the mode in force, the one
 * that a later step begins, and the staleness of one shard's or of all commits: new references. */
DP_MUST_CHECK dp_err head_consistency_check(const struct head *head, const char *text, uint32_t *ret_staleness,
                                            dp_error *err);
json_t *head_consistency_json(const struct head *head);
json_t *head_consistency_next_json(const struct head *head);
json_t *head_staleness_json(const struct shard_counters *counters);
json_t *head_staleness_total_json(const struct head *head);

/* control.c: settings of the running job. */
void head_on_set(struct head *head, const struct routing_id *route, const Dp__Header *request);
void head_on_prepared(struct head *head, uint64_t step);

/* ranks.c: the slots of a local job. */
DP_MUST_CHECK dp_err head_ranks_start(struct head *head);
void head_ranks_fini(struct head *head);
/* Whether there is a rank for one more worker, where the job has ranks. DP_BUSY, saying how to get more. */
DP_MUST_CHECK dp_err head_ranks_admit(const struct head *head, dp_error *err);
/* Members have changed. */
void head_ranks_deal(struct head *head);
/* Tells a member its slot, if it has one. */
void head_ranks_tell(struct head *head, uint32_t number);
/* The member's data are through; it is about to leave. */
void head_ranks_finish(struct head *head, const struct member *member);
/* Workers whose data are through: nobody waits for them. */
uint32_t head_ranks_finished(const struct head *head);
/* A member is about to be lost since it delivers nothing. One that comes again at once and does so again is put off. */
void head_ranks_stalled(struct head *head, const struct member *member);
/* Members have changed, or global_low: whether all have finished, and what they brought is complete. */
void head_ranks_see_end(struct head *head);
void head_ranks_on_ready(struct head *head, uint32_t shard, const struct event *event);
/* Every HEAD_TICK_MS. */
void head_ranks_watch(struct head *head, uint64_t now_ms);

/* drop.c: slots that are left out of a step. */
DP_MUST_CHECK dp_err head_drop_start(struct head *head);
void head_drop_fini(struct head *head);
/* What a shard has: the steps before `step`; little is missing of `step`. */
void head_drop_on_ready(struct head *head, uint32_t shard, uint64_t step);
void head_drop_on_few(struct head *head, uint32_t shard, uint64_t step);
/* All shards have answered what they are owed. */
void head_drop_on_owed(struct head *head);
/* The open step has waited for the stall time-out. */
void head_drop_on_stall(struct head *head);
/* global_low has moved; called before the next step's slots are dealt. */
void head_drop_over(struct head *head);
json_t *head_drop_json(const struct head *head);

/* status.c: the status document; a new reference, NULL when out of memory. `brief`: without the lists that workers
 * and shards make long. Its fields are stated in server/README.md. */
json_t *head_status(struct head *head, bool brief);

/* answers.c: what is large. */
/* A frame of `bytes` for the peer, which may not read it: takes the heap block. DP_BUSY where it has not read what it
 * was sent before; DP_NOMEM. */
DP_MUST_CHECK dp_err head_answer_frame(struct head *head, const struct routing_id *route, char *block, size_t bytes,
                                       zmq_msg_t *ret_frame);
void head_on_status(struct head *head, const struct routing_id *route, const Dp__Header *request);
/* The next one that asks gets a new document. */
void head_status_stale(struct head *head);

#endif
