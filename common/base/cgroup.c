/* Limits of control groups; see cgroup.h.
 *
 * A mount of the groups shows a part of their tree: its root, as mountinfo has it, is where the mount point is. Without
 * a namespace of its own a process has its whole path in /proc/self/cgroup, with one it has the path below its root; a
 * container may have the mount of its group alone beside the whole path. Thread: any. */
#include "common/base/cgroup.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/text.h"
#include "common/base/util.h"

enum { LINE_BYTES = 4096 };

/* Names of files, by the version of the groups. */
struct version {
    const char *type;       /* of its mounts */
    const char *controller; /* among a mount's options and a group's names; NULL: all are in one tree */
    const char *limit, *usage, *cached;
};

static const struct version VERSIONS[] = {
    {"cgroup2", NULL, "memory.max", "memory.current", "inactive_file "},
    {"cgroup", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "},
};

/* Whether one of the words between commas is this one. */
static bool has_word(const char *words, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = words; *at;) {
        size_t n = strcspn(at, ",");
        if (n == length && memcmp(at, word, n) == 0)
            return true;
        at += n + (at[n] == ',');
    }
    return false;
}

static FILE *open_at(const char *root, const char *path)
{
    char name[LINE_BYTES];
    int n = snprintf(name, sizeof name, "%s%s", root, path);
    return n < (int)sizeof name ? fopen(name, "re") : NULL;
}

/* The number behind `key` in a file of "key number" lines, or its only one where key is empty. UINT64_MAX where there
 * is none, as in "max". */
static uint64_t number_at(const char *root, const char *folder, const char *file, const char *key)
{
    char path[LINE_BYTES], line[256];
    uint64_t number = UINT64_MAX;
    if (snprintf(path, sizeof path, "%s/%s", folder, file) >= (int)sizeof path)
        return number;
    FILE *from = open_at(root, path);
    while (from && number == UINT64_MAX && fgets(line, sizeof line, from)) {
        char *start = line + strlen(key), *end = start;
        if (strncmp(line, key, strlen(key)) != 0)
            continue;
        unsigned long long read = strtoull(start, &end, 10);
        number = end == start ? UINT64_MAX : read;
    }
    if (from)
        fclose(from);
    return number;
}

/* The process's group in the version's tree, "/a/b"; false where it has none. */
static bool find_group(const char *root, const struct version *version, char path[LINE_BYTES])
{
    char line[LINE_BYTES];
    bool found = false;
    FILE *file = open_at(root, "/proc/self/cgroup");
    while (file && !found && fgets(line, sizeof line, file)) {
        char *names = strchr(line, ':'), *group = names ? strchr(names + 1, ':') : NULL;
        if (!group)
            continue;
        *group++ = '\0';
        group[strcspn(group, "\n")] = '\0';
        found = version->controller ? has_word(names + 1, version->controller) : names[1] == '\0';
        if (found)
            (void)str_copy(path, LINE_BYTES, group);
    }
    if (file)
        fclose(file);
    return found;
}

/* mountinfo writes blanks as \040. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *at = text; *at; to++) {
        if (at[0] == '\\' && strspn(at + 1, "01234567") >= 3) {
            *to = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
            at += 4;
        } else {
            *to = *at++;
        }
    }
    *to = '\0';
}

/* The two words of a line of mountinfo that say where it is, if it is a mount of the version's tree. */
static bool parse_mount(char *line, const struct version *version, char **ret_root, char **ret_point)
{
    char *words[5], *save = NULL, *dash = strstr(line, " - ");
    if (!dash)
        return false;
    *dash = '\0';
    char *type = strtok_r(dash + 3, " \n", &save);
    if (!type || strcmp(type, version->type) != 0)
        return false;
    (void)strtok_r(NULL, " \n", &save);
    const char *options = strtok_r(NULL, " \n", &save);
    if (version->controller && (!options || !has_word(options, version->controller)))
        return false;
    save = NULL;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (!(words[i] = strtok_r(i ? NULL : line, " ", &save)))
            return false;
    unescape(words[3]);
    unescape(words[4]);
    *ret_root = words[3];
    *ret_point = words[4];
    return true;
}

/* Path of the group below the mount's root: "/b", or "" if the mount shows only one above or below it. */
static const char *below(const char *group, const char *mount_root)
{
    size_t length = strcmp(mount_root, "/") == 0 ? 0 : strlen(mount_root);
    bool is_below = strncmp(group, mount_root, length) == 0 && (group[length] == '/' || group[length] == '\0');
    return is_below && !strstr(group, "/..") && strcmp(group + length, "/") != 0 ? group + length : "";
}

static void take_limit(const char *root, const struct version *version, const char *folder,
                       struct cgroup_memory *memory)
{
    uint64_t limit = number_at(root, folder, version->limit, "");
    if (limit == UINT64_MAX)
        return;
    uint64_t usage = number_at(root, folder, version->usage, "");
    uint64_t cached = number_at(root, folder, "memory.stat", version->cached);
    usage = usage == UINT64_MAX ? 0 : usage;
    usage -= MIN(usage, cached == UINT64_MAX ? 0 : cached);
    memory->limit_bytes = MIN(memory->limit_bytes, limit);
    memory->room_bytes = MIN(memory->room_bytes, limit - MIN(limit, usage));
}

/* The group at `point` + `group`, and all that are above it in this mount. */
static void take_limits(const char *root, const struct version *version, const char *point, const char *group,
                        struct cgroup_memory *memory)
{
    char folder[2 * LINE_BYTES];
    size_t least = strlen(point);
    snprintf(folder, sizeof folder, "%s%s", point, group);
    for (;;) {
        take_limit(root, version, folder, memory);
        char *slash = strrchr(folder, '/');
        if (!slash || (size_t)(slash - folder) < least)
            return;
        *slash = '\0';
    }
}

void cgroup_memory(const char *root, struct cgroup_memory *ret_memory)
{
    *ret_memory = (struct cgroup_memory){UINT64_MAX, UINT64_MAX};
    for (size_t v = 0; v < ARRAY_LEN(VERSIONS); v++) {
        char group[LINE_BYTES], line[LINE_BYTES], *mount_root, *point;
        if (!find_group(root, &VERSIONS[v], group))
            continue;
        FILE *mounts = open_at(root, "/proc/self/mountinfo");
        while (mounts && fgets(line, sizeof line, mounts))
            if (parse_mount(line, &VERSIONS[v], &mount_root, &point))
                take_limits(root, &VERSIONS[v], point, below(group, mount_root), ret_memory);
        if (mounts)
            fclose(mounts);
    }
}
