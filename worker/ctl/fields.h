/* The JSON of dp-ctl set, export and checkpoint as a table; dp-server has that of status. Thread: any. */
#ifndef DP_WORKER_CTL_FIELDS_H
#define DP_WORKER_CTL_FIELDS_H

#include "common/options/fields.h"

enum { CTL_PAGES = 1 };

/* Pages of --help: "json". */
extern const struct field_table ctl_pages[CTL_PAGES];

#endif
