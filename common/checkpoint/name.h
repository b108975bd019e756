/* Names of a checkpoint's folder and files. Thread: any. */
#ifndef DP_COMMON_CHECKPOINT_NAME_H
#define DP_COMMON_CHECKPOINT_NAME_H

#include <stdbool.h>
#include <stdint.h>

#define CHECKPOINT_MANIFEST "manifest.json"
enum { CHECKPOINT_NAME_MAX = 40 };

/* step-000000001234 */
void checkpoint_name(uint64_t train_step, char name[CHECKPOINT_NAME_MAX]);
/* Whether it is such a name, and of which training step. */
bool checkpoint_name_parse(const char *name, uint64_t *ret_step);

#endif
