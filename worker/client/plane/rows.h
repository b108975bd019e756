/* Parts of tables as pieces; see piece.h. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_PLANE_ROWS_H
#define DP_WORKER_CLIENT_PLANE_ROWS_H

#include "worker/client/plane/piece.h"

extern const struct piece_ops PIECE_PART;

#endif
