/* Real programs under test: started, watched, signalled, waited for.
 *
 *     TestSuite(name, .init = harness_init, .fini = harness_fini);
 *     struct process *server = PROCESS("dp-server", "--listen", "tcp://127.0.0.1:0", ...);
 *     process_expect(server, ERR, "listening", 10000);
 *     process_signal(server, SIGTERM);
 *     cr_assert_eq(process_wait(server, 10000), 143);
 *
 * Nothing sleeps: everything waits for an event with a deadline, and a deadline that passes fails the test with what
 * the process has said so far. When a test ends, however it ends, its processes are killed and its folder is removed.
 * Thread: the test's. */
#ifndef DP_TESTS_INTEGRATION_SUPPORT_HARNESS_H
#define DP_TESTS_INTEGRATION_SUPPORT_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { HARNESS_PROCESSES_MAX = 1024, HARNESS_PATH_MAX = 4096 };

void harness_init(void);
void harness_fini(void);

/* -- programs -- */

/* Path of a program ("dp-server", "dp-worker", "dp-ctl") of this build, or of the build folder $DP_TEST_BUILD:
 * Criterion cannot run under ThreadSanitizer, but what it starts can. An absolute path is itself. Borrowed. */
const char *program_path(const char *name);
bool program_built(const char *name);
/* Skips the test where one is not built. */
#define NEED_PROGRAMS(...)                                               \
    do {                                                                 \
        static const char *const names_[] = {__VA_ARGS__};               \
        for (size_t n_ = 0; n_ < sizeof names_ / sizeof names_[0]; n_++) \
            if (!program_built(names_[n_]))                              \
                cr_skip_test("%s is not built", names_[n_]);             \
    } while (0)

enum stream { OUT, ERR };

struct process; /* belongs to the harness until harness_fini */

/* Starts a program of the build with these arguments (NULL ends the list), without DP_* variables in its environment
 * but DP_MIN_SHARD_KIB=0, in a process group of its own, with an empty stdin. */
struct process *process_start(const char *program, const char *const *args);
/* The same with "NAME=value" added to the environment; env may be NULL. */
struct process *process_start_env(const char *program, const char *const *args, const char *const *env);
#define PROCESS(program, ...) process_start(program, (const char *const[]){__VA_ARGS__, NULL})

pid_t process_pid(const struct process *process);
void process_signal(struct process *process, int signal);

/* Waits until the stream has a line with `text` in it, beginning at the first line (process_expect) or after the one
 * found last on that stream (process_expect_next). Returns the line without its newline, valid until the next call on
 * that process. Fails the test after timeout_ms, or when the process has ended without it. */
const char *process_expect(struct process *process, enum stream stream, const char *text, uint32_t timeout_ms);
const char *process_expect_next(struct process *process, enum stream stream, const char *text, uint32_t timeout_ms);

/* Waits for the end of the process and of what it said. Returns its exit status, or 128 + n where signal n ended it.
 * Fails the test after timeout_ms, where children of it live on and hold its output, and where events of --json or a
 * status document differ from the tables of their members (fields.h). */
int process_wait(struct process *process, uint32_t timeout_ms);
/* True if it ended within timeout_ms; for tests that expect it to go on. */
bool process_ended(struct process *process, uint32_t timeout_ms);
/* Its output so far, NUL-terminated. Borrowed until harness_fini once the process has ended, else until the next
 * call on it. */
const char *process_output(struct process *process, enum stream stream);

struct run_result {
    int status; /* as process_wait */
    const char *out, *err;
};
/* Runs a program to its end. */
struct run_result run_program(uint32_t timeout_ms, const char *program, const char *const *args);
#define RUN(timeout_ms, program, ...) run_program(timeout_ms, program, (const char *const[]){__VA_ARGS__, NULL})

/* -- servers -- */

/* Starts dp-server on a free port of 127.0.0.1 with these options added, and waits until its port file names the
 * endpoint, which goes to endpoint[size]. */
struct process *server_start(char *endpoint, size_t size, const char *const *args);
#define SERVER(endpoint, ...) server_start(endpoint, sizeof(endpoint), (const char *const[]){__VA_ARGS__, NULL})

/* -- files -- */

/* Path of a file in the test's temporary folder, which is removed at its end. Borrowed until harness_fini. */
const char *temp_path(const char *name);
/* A file there with these bytes; returns its path. */
const char *temp_file(const char *name, const void *data, size_t bytes);
const char *temp_text(const char *name, const char *text);
/* 40 rows of two features that a line separates. */
const char *temp_separable(void);
/* Waits until a file with at least one whole line is at path; returns the first line, borrowed until harness_fini. NULL
 * after timeout_ms, or when `writer` (NULL: none) has ended without it. */
const char *file_expect(const char *path, const struct process *writer, uint32_t timeout_ms);
/* A file of the repository. Borrowed until harness_fini. */
const char *source_file(const char *name);
/* A file of the shared data ($DP_SHARED, else ../shared beside the repository), or NULL where it is absent. */
const char *shared_file(const char *name);

/* Fails the test unless both models have the same tensors with the same bytes. */
void models_assert_same(const char *path, const char *other);
/* The same but for values that differ by no more than `most`. */
void models_assert_near(const char *path, const char *other, double most);

#endif
