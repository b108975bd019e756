/* Checks of the data's options before the data are read; see data_options.h. Thread: any. */
#include "common/options/data_options.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/file.h"

/* Not opened: what waits in a pipe is for the reader. */
static dp_err check_file(const char *option, const char *path, dp_error *err)
{
    struct stat st;
    int why = stat(path, &st) || access(path, R_OK) ? errno : 0;
    if (!why && S_ISDIR(st.st_mode))
        return dp_fail(err, DP_IO,
                       "option --%s: %s: is a directory, and one file is taken: join its files into one first", option,
                       path);
    if (why == ENOENT && strpbrk(path, "*?[{,"))
        return dp_fail(err, DP_IO,
                       "option --%s: %s: there is no such file, and no pattern or list is taken: give one file", option,
                       path);
    return why ? dp_fail(err, DP_IO, "option --%s: %s: cannot be opened: %s", option, path, strerror(why)) : DP_OK;
}

enum { DATA_FILES = 4 };

static void list_files(const struct data_options *data, struct data_file files[DATA_FILES])
{
    files[0] = (struct data_file){"data", data->data};
    files[1] = (struct data_file){"eval", data->eval};
    files[2] = (struct data_file){"labels", data->labels};
    files[3] = (struct data_file){"eval-labels", data->eval_labels};
}

dp_err data_options_check_files(const struct data_options *data, dp_error *err)
{
    struct data_file files[DATA_FILES];
    dp_err e = DP_OK;
    list_files(data, files);
    for (size_t i = 0; !e && i < DATA_FILES; i++)
        if (files[i].path)
            e = check_file(files[i].option, files[i].path, err);
    return e;
}

dp_err data_files_check_output(const struct data_file *files, size_t count, const char *option, const char *path,
                               dp_error *err)
{
    for (size_t i = 0; i < count; i++)
        if (files[i].path && file_same(files[i].path, path))
            return dp_fail(err, DP_IO, "option --%s: %.400s is the file of --%s, which would be lost; name another one",
                           option, path, files[i].option);
    return DP_OK;
}

dp_err data_options_check_output(const struct data_options *data, const char *option, const char *path, dp_error *err)
{
    struct data_file files[DATA_FILES];
    list_files(data, files);
    return data_files_check_output(files, DATA_FILES, option, path, err);
}

dp_err data_options_check(const struct data_options *data, dp_error *err)
{
    if (data->eval_labels && !data->eval)
        return dp_fail(err, DP_USAGE, "option --eval-labels: there is no --eval FILE that they would belong to");
    return DP_OK;
}
