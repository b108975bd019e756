/* Orphans; see orphans.h. Thread: head. */
#include "server/host/orphans.h"

#include <sys/wait.h>
#include <unistd.h>

bool orphans_are_ours(void)
{
    return getpid() == 1;
}

/* A child that has ended and not been reaped; 0 where there is none. */
static pid_t find_ended(void)
{
    siginfo_t info = {0};
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ? info.si_pid : 0;
}

void orphans_reap(orphans_known known, void *arg)
{
    if (!orphans_are_ours())
        return;
    for (pid_t child = find_ended(); child > 0 && !known(arg, child); child = find_ended())
        (void)waitpid(child, NULL, WNOHANG);
}
