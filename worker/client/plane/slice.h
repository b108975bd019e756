/* Slices of the dense tensors as pieces; see piece.h. Thread: the one that uses the client. */
#ifndef DP_WORKER_CLIENT_PLANE_SLICE_H
#define DP_WORKER_CLIENT_PLANE_SLICE_H

#include "worker/client/plane/piece.h"

extern const struct piece_ops PIECE_SLICE;

#endif
