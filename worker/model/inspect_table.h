/* The document of inspect.h for people. Thread: any. */
#ifndef DP_WORKER_MODEL_INSPECT_TABLE_H
#define DP_WORKER_MODEL_INSPECT_TABLE_H

#include <jansson.h>
#include <stdio.h>

void inspect_print(const json_t *document, FILE *out);

#endif
