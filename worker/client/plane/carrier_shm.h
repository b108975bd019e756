/* The carrier for a server on the same host: theta's planes, rings of rows and slabs in shared memory. Thread: the one
 * that uses the client. */
#ifndef DP_WORKER_CLIENT_PLANE_CARRIER_SHM_H
#define DP_WORKER_CLIENT_PLANE_CARRIER_SHM_H

#include "worker/client/plane/carrier.h"

/* Shares memory with all shards, and becomes the client's carrier. The reason why not, which changes nothing: as
 * client_shm_open. */
DP_MUST_CHECK dp_err carrier_shm_open(struct plane *plane, dp_error *err);

#endif
