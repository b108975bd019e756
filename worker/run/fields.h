/* The events of dp-worker --json as a table. Thread: any. */
#ifndef DP_WORKER_RUN_FIELDS_H
#define DP_WORKER_RUN_FIELDS_H

#include "common/options/fields.h"

enum { WORKER_PAGES = 1 };

/* Pages of --help: "events". */
extern const struct field_table worker_pages[WORKER_PAGES];

#endif
