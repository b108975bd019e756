/* Runs before OpenBLAS does, which at its loading, before main, takes a buffer of 128 MiB for each of as many threads
 * as there are processors, and asks for ever where memory is refused (0.3.29; 0.3.21 does so in the threads that it
 * starts). It sends the process SIGINT if a thread is refused. dp uses none of these threads: so the program is run
 * once more with OPENBLAS_NUM_THREADS=1, which costs 10 ms. It ends if not even one buffer can be had.
 *
 * Invariant: calls nothing but system calls, since the C library is not set up yet. Thread: main, before main(). */
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker/model/scratch.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif

#ifndef SANITIZED /* they take all address space that there is, and come later than this */

enum {
    THREADS_MAX = 128,                          /* that Debian's is built for */
    THREAD_BYTES = BLAS_ROOM_BYTES + (8 << 20), /* with its stack */
    ONE_BYTES = BLAS_ROOM_BYTES + (8 << 20),    /* with what loads after it */
    PLENTY_BYTES = 1 << 30, /* for data and model: where less is left, threads that do nothing cost too much */
    VARIABLES_MAX = 4096,
    PATH_BYTES = 4096,
};

static const char VARIABLE[] = "OPENBLAS_NUM_THREADS=", ONE_THREAD[] = "OPENBLAS_NUM_THREADS=1";

static bool may_have(size_t bytes)
{
    void *room = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        return false;
    munmap(room, bytes);
    return true;
}

/* As many as OpenBLAS would start. */
static size_t processors(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set))
        return THREADS_MAX;
    return (size_t)CPU_COUNT(&set) < THREADS_MAX ? (size_t)CPU_COUNT(&set) : THREADS_MAX;
}

/* Returns where that cannot be done: there is no /proc. */
static void run_with_one_thread(char **argv, char **envp)
{
    static char path[PATH_BYTES], *variables[VARIABLES_MAX];
    size_t count = 0;
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    for (char **at = envp; *at; at++) {
        if (strncmp(*at, VARIABLE, sizeof VARIABLE - 1) == 0)
            continue;
        if (count + 2 >= VARIABLES_MAX)
            return;
        variables[count++] = *at;
    }
    variables[count] = (char *)ONE_THREAD;
    if (length > 0)
        execve(path, argv, variables);
}

static void guard(int argc, char **argv, char **envp)
{
    static const char TEXT[] = "dp-worker: out of memory: BLAS needs 137 MiB of address space; raise the limit (ulimit "
                               "-v), or take a machine with more memory\n";
    bool one = false;
    (void)argc;
    for (char **at = envp; *at; at++)
        one |= strcmp(*at, ONE_THREAD) == 0;
    if (!one)
        run_with_one_thread(argv, envp);
    if (may_have(one ? (size_t)ONE_BYTES : processors() * THREAD_BYTES + PLENTY_BYTES))
        return;
    (void)!write(STDERR_FILENO, TEXT, sizeof TEXT - 1);
    _exit(1);
}

__attribute__((section(".preinit_array"), used)) static void (*const before_all)(int, char **, char **) = guard;

#endif
