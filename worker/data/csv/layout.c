/* Columns of a file; see layout.h. Thread: any. */
#include "worker/data/csv/layout.h"

#include <stdlib.h>

void csv_layout_free(struct csv_layout **ref)
{
    struct csv_layout *layout = *ref;
    if (layout) {
        free(layout->names);
        free(layout->to);
    }
    free(layout);
    *ref = NULL;
}
