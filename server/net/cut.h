/* Cuts of a shard on its thread: what COMMAND_CUT asks for, and the bytes of the shard's file on their way to the
 * writer's thread. A slow disk delays the end of a cut and no step: chunks are made as the writer takes them.
 *
 * Invariant: each COMMAND_CUT with a step is answered by EVENT_CUT once, unless the job is settled anew or the thread
 * ends before. Thread: shard. */
#ifndef DP_SERVER_NET_CUT_H
#define DP_SERVER_NET_CUT_H

#include "server/net/state.h"

/* Has the writer's thread find pages for what cuts of the job copy, so that no commit waits for the kernel. Does
 * nothing without --checkpoint-dir. */
void port_cut_make_room(struct port_state *port);
/* Obeys COMMAND_CUT. */
void port_cut(struct port_state *port, const struct command_cut *command);
/* The thread was woken: hands bytes to the writer while it has room, and tells the head once the file is done. */
void port_cut_pump(struct port_state *port);
/* A message was obeyed: the same, if a file is being made. Wakes alone are too rare: thousands of messages may lie
 * between two, while the writer waits. */
void port_cut_feed(struct port_state *port);
/* shard_calls.cut: comes back to port_cut_pump soon; `arg` is the port_state. */
void port_cut_ready(void *arg);
/* Gives up what is asked for, without a word. The writer does not wake the thread any more. */
void port_cut_drop(struct port_state *port);

#endif
