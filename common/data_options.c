/* What can be said of the data's files before anybody reads them; see data_options.h. Thread: any. */
#include "data_options.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

/* Not opened: what waits in a pipe is for the reader. */
static dp_err check_file(const char *option, const char *path, dp_error *err)
{
    struct stat st;
    int why = stat(path, &st) || access(path, R_OK) ? errno : S_ISDIR(st.st_mode) ? EISDIR : 0;
    return why ? dp_fail(err, DP_IO, "option --%s: %s: cannot be opened: %s", option, path, strerror(why)) : DP_OK;
}

dp_err data_options_check_files(const struct data_options *data, dp_error *err)
{
    const struct {
        const char *option, *path;
    } files[] = {
        {"data", data->data}, {"eval", data->eval}, {"labels", data->labels}, {"eval-labels", data->eval_labels}};
    dp_err e = DP_OK;
    for (size_t i = 0; !e && i < ARRAY_LEN(files); i++)
        if (files[i].path)
            e = check_file(files[i].option, files[i].path, err);
    return e;
}
