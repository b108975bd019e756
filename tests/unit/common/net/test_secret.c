/* A user's secret: where it is found and made, what is refused; and the MAC of a proof. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/text.h"
#include "common/base/util.h"
#include "common/net/secret.h"
#include "tests/unit/support/files.h"
#include "tests/unit/support/leaks.h"

static char home[PATH_MAX];

static void home_init(void)
{
    folder_make(home);
    setenv("HOME", home, 1);
    unsetenv("DP_SECRET_FILE");
}

static void home_fini(void)
{
    folder_unmake(home);
}

TestSuite(secret, .init = home_init, .fini = home_fini);

static const char *in_home(const char *name)
{
    static char paths[4][2 * PATH_MAX];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", home, name);
    return path;
}

static mode_t mode_of(const char *path)
{
    struct stat st;
    cr_assert_eq(lstat(path, &st), 0, "%s", path);
    return st.st_mode & 07777;
}

/* HMAC-SHA-256 of "dp-proof-1", purpose 20, worker 0x1122334455667788, a nonce of 0..31, by a key of 32 bytes 0x0b;
 * the value is Python's:
 *   hmac.new(b'\x0b'*32, b'dp-proof-1' + struct.pack('<IQ', 20, 0x1122334455667788) + bytes(range(32)), 'sha256') */
Test(proof, has_the_mac_that_others_compute)
{
    static const uint8_t want[] = {0x6f, 0x69, 0xa0, 0x59, 0xd7, 0x7a, 0xe2, 0x47, 0x42, 0x7f, 0x80,
                                   0xdf, 0x07, 0xaa, 0x42, 0xbd, 0x16, 0x13, 0x2e, 0x3a, 0x58, 0x57,
                                   0xb7, 0x31, 0xbd, 0xa1, 0xcd, 0x9a, 0x8d, 0x20, 0xa3, 0x10};
    uint8_t key[PROOF_KEY_BYTES], nonce[PROOF_NONCE_BYTES], proof[PROOF_BYTES];
    const struct proof_claim claim = {.purpose = 20, .worker = 0x1122334455667788};
    memset(key, 0x0b, sizeof key);
    for (size_t i = 0; i < sizeof nonce; i++)
        nonce[i] = (uint8_t)i;
    proof_make(key, &claim, nonce, proof);
    cr_assert_arr_eq(proof, nonce, sizeof nonce);
    cr_assert_arr_eq(proof + sizeof nonce, want, sizeof want);
    cr_assert(proof_holds(key, &claim, proof));
}

Test(proof, holds_for_its_key_purpose_worker_and_nonce_alone)
{
    uint8_t key[PROOF_KEY_BYTES], nonce[PROOF_NONCE_BYTES], proof[PROOF_BYTES];
    const struct proof_claim claim = {.purpose = 20, .worker = 7};
    proof_random(key, sizeof key);
    proof_random(nonce, sizeof nonce);
    proof_make(key, &claim, nonce, proof);
    cr_assert_not(proof_holds(key, &(struct proof_claim){31, 7}, proof));
    cr_assert_not(proof_holds(key, &(struct proof_claim){20, 8}, proof));
    for (size_t i = 0; i < sizeof proof; i++) {
        proof[i] ^= 1;
        cr_assert_not(proof_holds(key, &claim, proof), "byte %zu", i);
        proof[i] ^= 1;
    }
    key[31] ^= 1;
    cr_assert_not(proof_holds(key, &claim, proof));
}

Test(secret, is_made_where_it_is_then_found)
{
    struct secret made, found;
    dp_error err;
    cr_assert_eq(secret_load(NULL, false, &found, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "no secret"), "%s", err.text);
    cr_assert_eq(access(in_home(".config"), F_OK), -1, "reading makes nothing");
    cr_assert_eq(secret_load(NULL, true, &made, &err), DP_OK, "%s", err.text);
    cr_assert_str_eq(made.path, in_home(".config/dp/secret"));
    cr_assert_eq(mode_of(made.path), 0600);
    cr_assert_eq(mode_of(in_home(".config/dp")), 0700);
    cr_assert_eq(secret_load(NULL, false, &found, &err), DP_OK, "%s", err.text);
    cr_assert_arr_eq(found.key, made.key, sizeof made.key);
    cr_assert_eq(secret_load(NULL, true, &found, &err), DP_OK, "%s", err.text);
    cr_assert_arr_eq(found.key, made.key, sizeof made.key);
    secret_fini(&found);
    for (size_t i = 0; i < sizeof found.key; i++)
        cr_assert_eq(found.key[i], 0);
    ASSERT_NO_LEAKS();
}

/* Under any umask the file is the user's alone, and they can read it. */
Test(secret, has_its_mode_under_any_umask)
{
    static const mode_t masks[] = {0, 0777};
    for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
        struct secret made, found;
        dp_error err;
        const char *path = in_home(i ? "b" : "a");
        mode_t before = umask(masks[i]);
        dp_err e = secret_load(path, true, &made, &err);
        umask(before);
        cr_assert_eq(e, DP_OK, "%s", err.text);
        cr_assert_eq(mode_of(path), 0600);
        cr_assert_eq(secret_load(path, false, &found, &err), DP_OK, "%s", err.text);
    }
}

Test(secret, is_found_by_the_environment_and_before_that_by_name)
{
    struct secret a, b, found;
    dp_error err;
    cr_assert_eq(secret_load(in_home("a"), true, &a, &err), DP_OK, "%s", err.text);
    cr_assert_eq(secret_load(in_home("b"), true, &b, &err), DP_OK, "%s", err.text);
    cr_assert_arr_neq(a.key, b.key, sizeof a.key);
    setenv("DP_SECRET_FILE", in_home("a"), 1);
    cr_assert_eq(secret_load(NULL, false, &found, &err), DP_OK, "%s", err.text);
    cr_assert_arr_eq(found.key, a.key, sizeof a.key);
    cr_assert_eq(secret_load(in_home("b"), false, &found, &err), DP_OK, "%s", err.text);
    cr_assert_arr_eq(found.key, b.key, sizeof b.key);
    unsetenv("DP_SECRET_FILE");
}

/* `word` names what is wrong, and the message names the file. */
static void expect_refused(const char *path, const char *word)
{
    struct secret secret = {.path = "untouched"};
    dp_error err;
    for (int make = 0; make < 2; make++) {
        cr_assert_eq(secret_load(path, make, &secret, &err), DP_IO, "%s was taken", path);
        cr_assert_not_null(strstr(err.text, word), "%s", err.text);
        cr_assert_not_null(strstr(err.text, path), "%s", err.text);
        cr_assert_str_eq(secret.path, "untouched");
    }
}

Test(secret, that_others_may_have_read_is_refused)
{
    static const mode_t modes[] = {0644, 0640, 0604, 0620, 0602};
    struct secret secret;
    dp_error err;
    const char *path = in_home("s");
    cr_assert_eq(secret_load(path, true, &secret, &err), DP_OK, "%s", err.text);
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        cr_assert_eq(chmod(path, modes[i]), 0);
        expect_refused(path, "chmod 600");
    }
}

Test(secret, that_is_none_is_refused)
{
    static const char *const texts[] = {"", "\n", "hello\n", "0123", "zz"};
    char hex[80];
    memset(hex, 'a', 64);
    for (size_t i = 0; i < ARRAY_LEN(texts) + 2; i++) {
        const char *path = in_home("s");
        if (i < ARRAY_LEN(texts))
            file_make(path, texts[i], strlen(texts[i]));
        else if (i == ARRAY_LEN(texts))
            file_make(path, memcpy(hex + 60, "aaaazz\n", 7) == NULL ? "" : hex, 67); /* too long */
        else
            file_make(path, memset(hex, 'g', 64), 64); /* no such digits */
        cr_assert_eq(chmod(path, 0600), 0);
        expect_refused(path, "64 hexadecimal digits");
    }
    const char *fine = in_home("fine");
    struct secret secret;
    dp_error err;
    memset(hex, 'A', 64);
    file_make(fine, hex, 64); /* one of the user's own, without a newline */
    cr_assert_eq(chmod(fine, 0600), 0);
    cr_assert_eq(secret_load(fine, false, &secret, &err), DP_OK, "%s", err.text);
    cr_assert_eq(secret.key[31], 0xaa);
}

Test(secret, is_no_link_folder_or_pipe)
{
    struct secret secret;
    dp_error err;
    char real[2 * PATH_MAX];
    str_copy(real, sizeof real, in_home("real"));
    cr_assert_eq(secret_load(real, true, &secret, &err), DP_OK, "%s", err.text);
    cr_assert_eq(symlink(real, in_home("link")), 0);
    expect_refused(in_home("link"), "symbolic link");
    cr_assert_eq(symlink(in_home("nothing"), in_home("dangling")), 0);
    expect_refused(in_home("dangling"), "symbolic link");
    cr_assert_eq(access(in_home("nothing"), F_OK), -1, "nothing is made at a link's other end");
    cr_assert_eq(mkdir(in_home("folder"), 0700), 0);
    expect_refused(in_home("folder"), "is no file");
    cr_assert_eq(mkfifo(in_home("pipe"), 0600), 0);
    expect_refused(in_home("pipe"), "is no file");
}

Test(secret, that_cannot_be_made_where_it_was_named_is_made_nowhere)
{
    struct secret secret;
    dp_error err;
    cr_assert_eq(secret_load(in_home("no/such/folder"), true, &secret, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "no/such"), "%s", err.text);
    cr_assert_eq(secret_load("/", true, &secret, &err), DP_IO);
    cr_assert_eq(secret_load("/proc/secret", true, &secret, &err), DP_IO);
    cr_assert_not_null(strstr(err.text, "/proc"), "%s", err.text);
}

/* In a process of uid 65534 (nobody), whose home is not there. 0: fine, else what went wrong; its text goes to `out`.
 */
static int as_nobody(int (*run)(const char *arg, dp_error *err), const char *arg, char out[640])
{
    int ends[2];
    cr_assert_eq(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dp_error err = {.text = ""};
        int rc = setgid(65534) || setuid(65534) ? 99 : run(arg, &err);
        (void)!write(ends[1], err.text, strlen(err.text));
        _exit(rc);
    }
    close(ends[1]);
    size_t bytes = 0;
    for (ssize_t n = 1; n > 0 && bytes < 639;) {
        n = read(ends[0], out + bytes, 639 - bytes);
        bytes += n > 0 ? (size_t)n : 0;
    }
    out[bytes] = '\0';
    close(ends[0]);
    int status;
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

static int load_named(const char *path, dp_error *err)
{
    struct secret secret;
    return secret_load(path, false, &secret, err) ? 1 : 0;
}

/* HOME is another user's, so it is not looked at. */
static int make_usual(const char *want, dp_error *err)
{
    struct secret a, b;
    if (secret_load(NULL, true, &a, err) || secret_load(NULL, false, &b, err))
        return 1;
    return strcmp(a.path, want) != 0 || memcmp(a.key, b.key, sizeof a.key) != 0 ? 2 : 0;
}

Test(secret, belongs_to_the_user_who_uses_it)
{
    struct secret secret;
    dp_error err;
    char text[640];
    if (geteuid() != 0)
        cr_skip_test("only root can be another user");
    const char *path = in_home("s");
    cr_assert_eq(chmod(home, 0755), 0);
    cr_assert_eq(secret_load(path, true, &secret, &err), DP_OK, "%s", err.text);
    cr_assert_eq(chown(path, 65534, 65534), 0);
    cr_assert_eq(as_nobody(load_named, path, text), 0, "%s", text);
    cr_assert_eq(secret_load(path, false, &secret, &err), DP_OK, "root names whose secret it likes: %s", err.text);
    cr_assert_eq(chown(path, 65533, 65533), 0);
    cr_assert_eq(as_nobody(load_named, path, text), 1);
    cr_assert_not_null(strstr(text, "s"), "%s", text);
    cr_assert_eq(mkdir(in_home(".config"), 0755), 0);
    cr_assert_eq(mkdir(in_home(".config/dp"), 0755), 0);
    cr_assert_eq(rename(path, in_home(".config/dp/secret")), 0);
    cr_assert_eq(secret_load(NULL, true, &secret, &err), DP_IO, "not named: root takes its own alone");
    cr_assert_not_null(strstr(err.text, "belongs to uid 65533"), "%s", err.text);
}

Test(secret, of_a_user_without_a_home_is_in_tmp)
{
    char text[640];
    if (geteuid() != 0)
        cr_skip_test("only root can be another user");
    if (access("/tmp/dp-65534", F_OK) == 0)
        cr_skip_test("/tmp/dp-65534 is in use");
    int rc = as_nobody(make_usual, "/tmp/dp-65534/secret", text);
    mode_t mode = rc ? 0 : mode_of("/tmp/dp-65534");
    (void)unlink("/tmp/dp-65534/secret");
    (void)rmdir("/tmp/dp-65534");
    cr_assert_eq(rc, 0, "%d %s", rc, text);
    cr_assert_eq(mode, 0700);
}

/* Another user was there first. */
Test(secret, is_not_kept_in_a_folder_of_somebody_else)
{
    char text[640];
    if (geteuid() != 0)
        cr_skip_test("only root can be another user");
    if (access("/tmp/dp-65534", F_OK) == 0)
        cr_skip_test("/tmp/dp-65534 is in use");
    for (int kind = 0; kind < 3; kind++) {
        if (kind == 0)
            cr_assert_eq(mkdir("/tmp/dp-65534", 0777), 0);
        else if (kind == 1)
            cr_assert_eq(symlink(home, "/tmp/dp-65534"), 0);
        else
            file_make("/tmp/dp-65534", "", 0);
        int rc = as_nobody(make_usual, "/tmp/dp-65534/secret", text);
        cr_assert_eq(remove("/tmp/dp-65534"), 0, "and nothing was put there");
        cr_assert_eq(rc, 1, "%d", kind);
        cr_assert_not_null(strstr(text, "/tmp/dp-65534: "), "%s", text);
        cr_assert_not_null(strstr(text, "DP_SECRET_FILE"), "%s", text);
    }
}

/* Processes that start together have one secret, whole, and leave nothing else behind. */
Test(secret, is_one_whoever_is_first)
{
    enum { PROCESSES = 24 };
    int go[2], told[2];
    struct secret found;
    dp_error err;
    char byte;
    cr_assert(pipe(go) == 0 && pipe(told) == 0);
    for (int i = 0; i < PROCESSES; i++)
        if (fork() == 0) {
            struct secret secret;
            close(go[1]);
            (void)!read(go[0], &byte, 1); /* until all are there */
            dp_err e = secret_load(NULL, true, &secret, &err);
            if (e)
                memset(secret.key, 0, sizeof secret.key);
            _exit(write(told[1], secret.key, sizeof secret.key) != sizeof secret.key);
        }
    close(go[0]);
    close(go[1]);
    close(told[1]);
    uint8_t keys[PROCESSES][PROOF_KEY_BYTES];
    for (int i = 0; i < PROCESSES; i++)
        cr_assert_eq(read(told[0], keys[i], sizeof keys[i]), (ssize_t)sizeof keys[i]);
    close(told[0]);
    while (wait(NULL) > 0)
        ;
    cr_assert_eq(secret_load(NULL, false, &found, &err), DP_OK, "%s", err.text);
    for (int i = 0; i < PROCESSES; i++)
        cr_assert_arr_eq(keys[i], found.key, sizeof found.key);
    DIR *folder = opendir(in_home(".config/dp"));
    cr_assert_not_null(folder);
    for (struct dirent *entry; (entry = readdir(folder));)
        cr_assert(strcmp(entry->d_name, "secret") == 0 || strspn(entry->d_name, ".") == strlen(entry->d_name), "%s",
                  entry->d_name);
    closedir(folder);
}
