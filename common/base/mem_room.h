/* Memory that a process can have and take: less than the machine has if a control group or ulimit -v says so. Thread:
 * any. */
#ifndef DP_COMMON_BASE_MEM_ROOM_H
#define DP_COMMON_BASE_MEM_ROOM_H

#include <stdint.h>

#include "common/base/dp_err.h"

/* Memory that this process can have at most: the machine's, or less where a limit of its control group or of one above
 * that (version 1 or 2), or of its address space, says so. UINT64_MAX where nothing is known. */
uint64_t mem_limit_bytes(void);
/* Whether this many bytes can be taken beside those that this process and its control group have. Otherwise the kernel
 * would end the process at a write to them, without a word. Fewer than MEM_SMALL_BYTES pass unasked. DP_NOMEM, "WHAT:
 * out of memory: ...". */
enum { MEM_SMALL_BYTES = 8 << 20 };
DP_MUST_CHECK dp_err mem_check_room(const char *what, uint64_t bytes, dp_error *err);

#endif
