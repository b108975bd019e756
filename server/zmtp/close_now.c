/* close(2) of the C library; see close_now.h. Thread: any. */
#include "server/zmtp/close_now.h"

#include <dlfcn.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int (*next_close)(int fd);

__attribute__((constructor)) static void find_next(void)
{
    void *found = dlsym(RTLD_NEXT, "close");
    memcpy(&next_close, &found, sizeof found);
}

int gate_close_now(int fd)
{
    return next_close ? next_close(fd) : (int)syscall(SYS_close, fd);
}
