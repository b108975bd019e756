/* Options of dp-server that go together. Thread: head. */
#ifndef DP_SERVER_OPTIONS_CHECK_H
#define DP_SERVER_OPTIONS_CHECK_H

#include "server/options/options.h"

/* Refuses combinations that make no sense, which the table cannot say of single options. Fills fields that are not in
 * the table. DP_USAGE, DP_IO. */
DP_MUST_CHECK dp_err server_options_check(const struct options *given, struct server_options *opts, dp_error *err);
void server_options_fini(struct server_options *opts);

#endif
