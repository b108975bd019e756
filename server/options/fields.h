/* The JSON that dp-server prints or sends, as tables: the status document and the events of --json. Thread: any. */
#ifndef DP_SERVER_OPTIONS_FIELDS_H
#define DP_SERVER_OPTIONS_FIELDS_H

#include "common/options/fields.h"

enum { SERVER_PAGES = 2 };

/* Pages of --help: "status", then "events". */
extern const struct field_table server_pages[SERVER_PAGES];

#endif
