/* The secret of a user; see secret.h. Invariant: no link is followed to the file itself, and what was opened is what is
 * checked. Thread: any. */
#include "common/net/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/entropy.h"
#include "common/base/file.h"
#include "common/base/text.h"
#include "common/base/util.h"

enum { DIGITS = 2 * PROOF_KEY_BYTES, PLACES_MAX = 2, USER_BYTES = 4096 };

/* A place for a secret. */
struct place {
    char folder[PATH_MAX - 64];
    char name[64];
    bool named;  /* by the user: root may have the file of another one */
    bool shared; /* the folder is in one that everybody can write to */
};

static void place_path(const struct place *place, char path[PATH_MAX])
{
    const char *slash = strcmp(place->folder, "/") == 0 ? "" : "/";
    snprintf(path, PATH_MAX, "%s%s%s", place->folder, slash, place->name);
}

/* ---- places ---- */

static bool own_folder(const char *path)
{
    struct stat st;
    return path && path[0] == '/' && stat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid();
}

/* False where this user has no folder. */
static bool home_find(char *home, size_t size)
{
    const char *said = getenv("HOME");
    char buf[USER_BYTES];
    struct passwd user, *found = NULL;
    if (own_folder(said))
        return str_copy(home, size, said);
    return getpwuid_r(geteuid(), &user, buf, sizeof buf, &found) == 0 && found && own_folder(found->pw_dir) &&
           str_copy(home, size, found->pw_dir);
}

static dp_err place_named(const char *file, struct place *place, dp_error *err)
{
    const char *slash = strrchr(file, '/');
    size_t length = slash ? (size_t)(slash - file) : 0;
    *place = (struct place){.folder = ".", .named = true};
    if (length >= sizeof place->folder || !str_copy(place->name, sizeof place->name, slash ? slash + 1 : file))
        return dp_fail(err, DP_IO, "the secret's file: the path is too long: %.80s...", file);
    if (slash)
        snprintf(place->folder, sizeof place->folder, "%.*s", (int)MAX(length, (size_t)1), file);
    if (!place->name[0])
        return dp_fail(err, DP_IO, "%.400s: names a folder, not the file of a secret", file);
    return DP_OK;
}

static size_t places_usual(struct place places[PLACES_MAX])
{
    size_t count = 0;
    char home[PATH_MAX - 96];
    if (home_find(home, sizeof home)) {
        places[count] = (struct place){.name = "secret"};
        snprintf(places[count].folder, sizeof places[count].folder, "%s/.config/dp", home);
        count++;
    }
    places[count] = (struct place){.name = "secret", .shared = true};
    snprintf(places[count].folder, sizeof places[count].folder, "/tmp/dp-%lu", (unsigned long)geteuid());
    return count + 1;
}

/* ---- folders ---- */

/* ~/.config and ~/.config/dp. */
static void folder_make(const struct place *place)
{
    char above[sizeof place->folder];
    (void)str_copy(above, sizeof above, place->folder);
    char *slash = strrchr(above, '/');
    if (place->named)
        return;
    if (!place->shared && slash && slash != above) {
        *slash = '\0';
        (void)mkdir(above, 0700);
    }
    (void)mkdir(place->folder, 0700); /* opening the file finds out whether this failed */
}

/* In /tmp anybody may have made the folder before us. */
static dp_err folder_check(const struct place *place, int fd, dp_error *err)
{
    struct stat st;
    if (!place->shared)
        return DP_OK;
    if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && (st.st_mode & 077) == 0)
        return DP_OK;
    return dp_fail(
        err, DP_IO,
        "%s: is not a folder of uid %lu alone (mode 0700), so no secret can be kept there; remove it, or name "
        "a file by --secret-file or DP_SECRET_FILE",
        place->folder, (unsigned long)geteuid());
}

/* *ret_fd is -1, and errno set, where there is no such folder or nobody lets us in. */
static dp_err folder_open(const struct place *place, int *ret_fd, dp_error *err)
{
    int fd = open(place->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (place->shared ? O_NOFOLLOW : 0));
    *ret_fd = -1;
    if (fd < 0 && place->shared && errno != ENOENT)
        return dp_fail(err, DP_IO,
                       "%s: cannot be used for this user's secret (%s); remove it, or name a file by --secret-file or "
                       "DP_SECRET_FILE",
                       place->folder, strerror(errno));
    if (fd < 0)
        return DP_OK;
    dp_err e = folder_check(place, fd, err);
    if (e)
        close(fd);
    else
        *ret_fd = fd;
    return e;
}

/* ---- the file ---- */

static dp_err file_check(const struct place *place, const char *path, int fd, dp_error *err)
{
    struct stat st;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        return dp_fail(err, DP_IO, "%s: is no file, so it cannot hold a secret: remove it", path);
    if (st.st_uid != geteuid() && !(place->named && geteuid() == 0))
        return dp_fail(err, DP_IO,
                       "%s: the secret's file belongs to uid %lu, and this program runs as uid %lu: remove it, or name "
                       "another by --secret-file or DP_SECRET_FILE",
                       path, (unsigned long)st.st_uid, (unsigned long)geteuid());
    if (st.st_mode & 077)
        return dp_fail(
            err, DP_IO,
            "%s: the secret's file has mode %04o, so others may have read it: remove it, and dp-server makes "
            "a new one (or chmod 600 it, if nobody has)",
            path, (unsigned)(st.st_mode & 07777));
    return DP_OK;
}

static dp_err file_read(const char *path, int fd, uint8_t key[PROOF_KEY_BYTES], dp_error *err)
{
    char text[DIGITS + 2];
    size_t bytes = 0, key_bytes = 0;
    ssize_t n = 1;
    while (bytes < sizeof text && n > 0) {
        n = read(fd, text + bytes, sizeof text - bytes);
        bytes += n > 0 ? (size_t)n : 0;
    }
    bool whole = bytes == DIGITS || (bytes == DIGITS + 1 && text[DIGITS] == '\n');
    whole = whole && sodium_hex2bin(key, PROOF_KEY_BYTES, text, DIGITS, NULL, &key_bytes, NULL) == 0 &&
            key_bytes == PROOF_KEY_BYTES;
    proof_forget(text, sizeof text);
    if (whole)
        return DP_OK;
    return dp_fail(err, DP_IO,
                   "%s: holds no secret, which is %d hexadecimal digits: remove it, and dp-server makes a new one",
                   path, DIGITS);
}

/* *ret_there stays false where there is no such file. */
static dp_err place_read(const struct place *place, struct secret *secret, bool *ret_there, dp_error *err)
{
    int folder;
    place_path(place, secret->path);
    dp_err e = folder_open(place, &folder, err);
    if (e || folder < 0)
        return e;
    int fd = openat(folder, place->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    int why = errno;
    close(folder);
    if (fd < 0 && why == ENOENT)
        return DP_OK;
    *ret_there = true;
    if (fd < 0 && why == ELOOP)
        return dp_fail(err, DP_IO, "%s: is a symbolic link, which is not followed to a secret: name the file itself",
                       secret->path);
    if (fd < 0)
        return dp_fail(err, DP_IO, "%s: the secret cannot be read: %s", secret->path, strerror(why));
    e = file_check(place, secret->path, fd, err);
    if (!e)
        e = file_read(secret->path, fd, secret->key, err);
    close(fd);
    return e;
}

/* ---- making one ---- */

static dp_err file_fill(int fd, dp_error *err)
{
    uint8_t key[PROOF_KEY_BYTES];
    char text[DIGITS + 2];
    proof_random(key, sizeof key);
    sodium_bin2hex(text, DIGITS + 1, key, sizeof key);
    text[DIGITS] = '\n';
    dp_err e = fchmod(fd, 0600) ? dp_fail(err, DP_IO, "%s", strerror(errno)) : DP_OK; /* umask may take more away */
    if (!e)
        e = file_write_all(fd, text, DIGITS + 1, err);
    if (!e && fsync(fd))
        e = dp_fail(err, DP_IO, "%s", strerror(errno));
    proof_forget(key, sizeof key);
    proof_forget(text, sizeof text);
    return e;
}

/* Gives a whole file its name unless another process was first, whose file then is the secret. Some file systems have
 * no links. */
static dp_err file_name(int folder, const char *tmp, const char *name, dp_error *err)
{
    if (linkat(folder, tmp, folder, name, 0) == 0 || errno == EEXIST)
        return DP_OK;
    if (renameat2(folder, tmp, folder, name, RENAME_NOREPLACE) == 0 || errno == EEXIST)
        return DP_OK;
    return dp_fail(err, DP_IO, "%s", strerror(errno));
}

static dp_err place_make(const struct place *place, dp_error *err)
{
    char tmp[64];
    int folder;
    folder_make(place);
    dp_err e = folder_open(place, &folder, err);
    if (e)
        return e;
    if (folder < 0)
        return dp_fail(err, DP_IO, "%s: %s; make the folder, or name another file for this user's secret",
                       place->folder, strerror(errno));
    snprintf(tmp, sizeof tmp, ".secret-%016" PRIx64, entropy_u64());
    int fd = openat(folder, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    e = fd < 0 ? dp_fail(err, DP_IO, "%s", strerror(errno)) : file_fill(fd, err);
    if (fd >= 0) {
        close(fd);
        if (!e)
            e = file_name(folder, tmp, place->name, err);
        (void)unlinkat(folder, tmp, 0);
    }
    close(folder);
    if (!e)
        return DP_OK;
    return dp_fail(err, DP_IO,
                   "%.300s: this user's secret cannot be made there (%.150s): name a file by --secret-file or "
                   "DP_SECRET_FILE",
                   place->folder, err->text);
}

/* ---- all of it ---- */

/* The first place where there is one. */
static dp_err places_read(const struct place *places, size_t count, struct secret *secret, bool *ret_there,
                          dp_error *err)
{
    dp_err e = DP_OK;
    for (size_t i = 0; !e && !*ret_there && i < count; i++)
        e = place_read(&places[i], secret, ret_there, err);
    return e;
}

/* The first place where one can be made, and what was made there. */
static dp_err places_make(const struct place *places, size_t count, struct secret *secret, bool *ret_there,
                          dp_error *err)
{
    dp_err e = DP_IO;
    for (size_t i = 0; e && i < count; i++) {
        e = place_make(&places[i], err);
        if (!e)
            e = place_read(&places[i], secret, ret_there, err);
    }
    return e;
}

dp_err secret_load(const char *file, bool make, struct secret *ret_secret, dp_error *err)
{
    struct place places[PLACES_MAX];
    struct secret secret;
    size_t count = 1;
    bool there = false;
    dp_err e = DP_OK;
    if (sodium_init() < 0)
        return dp_fail(err, DP_SYSTEM, "libsodium cannot be used");
    if (!file || !file[0])
        file = getenv("DP_SECRET_FILE");
    if (file && file[0])
        e = place_named(file, &places[0], err);
    else
        count = places_usual(places);
    if (!e)
        e = places_read(places, count, &secret, &there, err);
    if (!e && !there && make)
        e = places_make(places, count, &secret, &there, err);
    if (!e && !there) {
        place_path(&places[0], secret.path);
        e = dp_fail(err, DP_IO, "%s: there is no secret of this user's", secret.path);
    }
    if (!e)
        *ret_secret = secret;
    secret_fini(&secret);
    return e;
}

void secret_fini(struct secret *secret)
{
    proof_forget(secret->key, sizeof secret->key);
}
