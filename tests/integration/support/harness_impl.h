/* Between the parts of the harness. Thread: the test's. */
#ifndef DP_TESTS_INTEGRATION_SUPPORT_HARNESS_IMPL_H
#define DP_TESTS_INTEGRATION_SUPPORT_HARNESS_IMPL_H

#include <sys/types.h>

/* A copy that lives until harness_fini. */
const char *harness_keep(const char *text);

void files_init(void);
void files_fini(void);
/* Removes the test's folder. */
void folder_remove(void);

/* From before the first process of a test to after the last. */
void warden_start(void);
void warden_tell(pid_t group);
void warden_dismiss(void);

#endif
