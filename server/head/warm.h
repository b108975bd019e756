/* A job that begins with the parameters of a model or a checkpoint of another one (--init-from). Thread: head. */
#ifndef DP_SERVER_HEAD_WARM_H
#define DP_SERVER_HEAD_WARM_H

#include <jansson.h>

#include "common/base/dp_err.h"

struct head;

/* Opens it, and reads all bytes of a checkpoint; unless the job goes on from a checkpoint of its own, or the option is
 * not given. After head_resume_choose. DP_IO, DP_DATA naming the fault. */
DP_MUST_CHECK dp_err head_warm_open(struct head *head, dp_error *err);
/* Holds the job that has just been settled against it. DP_REFUSED with the difference. */
DP_MUST_CHECK dp_err head_warm_check(const struct head *head, dp_error *err);
/* Its path; NULL: the job begins with initial values, or goes on. */
const char *head_warm_path(const struct head *head);
/* The same for status and journal: text or null. */
json_t *head_warm_json(const struct head *head);
void head_warm_close(struct head *head);

#endif
