/* Pieces of the parameters: what one message is about. A piece is a slice of the dense tensors or a part of a table;
 * both stand behind one table of operations. Ids are those on the wire: slices of all shards first, then parts.
 * Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_PLANE_PIECE_H
#define DP_WORKER_CLIENT_PLANE_PIECE_H

#include "worker/client/plane/message.h"
#include "worker/client/plane/shard.h"

/* One kind of piece. `index` counts within the kind, over all shards. NULL: the kind has nothing of that. */
struct piece_ops {
    /* One message: pushes a node, which may be NULL, and with `pull` asks for theta wanted. */
    void (*send)(struct plane *plane, struct shard *shard, uint32_t index, const struct sent_node *node, bool pull);
    /* Takes an answer to a pull; true in *ret_new if it was not there. DP_PROTO. */
    dp_err (*take)(struct plane *plane, struct shard *shard, const struct link_message *message, bool *ret_new,
                   dp_error *err);
    /* Whether rows of slots that came late are to come from it; asks for them. */
    bool (*lacks)(const struct plane *plane, uint32_t index);
    void (*pull_more)(struct plane *plane, struct shard *shard, uint32_t index);
    /* The shard has forgotten a list of ids. */
    void (*forget)(struct plane *plane, uint32_t index, uint64_t keys);
};

/* Number of pieces of the shard, and the id of its i-th. */
uint32_t piece_count(const struct shard *shard);
uint32_t piece_id(const struct plane *plane, const struct shard *shard, uint32_t i);
/* Whether a piece is the shard's. */
bool piece_is_of(const struct plane *plane, const struct shard *shard, uint32_t piece);
/* Whether theta wanted lacks it; whether it lacks any of the shard's. */
bool piece_missing(const struct plane *plane, uint32_t piece);
bool piece_any_missing(const struct plane *plane, const struct shard *shard);
/* See piece_ops. */
void piece_send(struct plane *plane, struct shard *shard, uint32_t piece, const struct sent_node *node, bool pull);
bool piece_any_lacks(const struct plane *plane, const struct shard *shard);
void piece_pull_more(struct plane *plane, struct shard *shard);
void piece_forget(struct plane *plane, uint32_t piece, uint64_t keys);
/* Takes an answer to a pull, of any kind. */
DP_MUST_CHECK dp_err piece_take(struct plane *plane, struct shard *shard, const struct link_message *message,
                                bool *ret_new, dp_error *err);

#endif
