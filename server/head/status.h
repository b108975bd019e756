/* The status document. Thread: head. */
#ifndef DP_SERVER_HEAD_STATUS_H
#define DP_SERVER_HEAD_STATUS_H

#include <jansson.h>
#include <stdbool.h>

struct head;

/* A new reference, NULL when out of memory. `brief`: without the lists that workers and shards make long. Its fields
 * are stated in the pages of this room. */
json_t *head_status(struct head *head, bool brief);

#endif
