/* The end of an output. Thread: main. */
#include "worker/ctl/output.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

dp_err ctl_output_flush(dp_error *err)
{
    return fflush(stdout) || ferror(stdout) ? dp_fail(err, DP_IO, "cannot write to stdout: %s", strerror(errno))
                                            : DP_OK;
}
