/* Limits of memory of control groups, as kernels, containers and service managers set them up. */
#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/cgroup.h"
#include "common/base/mem_room.h"

#define NONE UINT64_MAX
#define MIB (UINT64_C(1) << 20)

struct file {
    const char *path, *text;
};

enum { FILES_MAX = 12 };

static char root[64];

static void put(const char *path, const char *text)
{
    char name[512];
    snprintf(name, sizeof name, "%s%s", root, path);
    for (char *slash = name + strlen(root) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        (void)mkdir(name, 0777);
    }
    FILE *file = fopen(name, "w");
    cr_assert_not_null(file, "%s", name);
    fputs(text, file);
    fclose(file);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *walk)
{
    (void)st, (void)kind, (void)walk;
    return remove(path);
}

static void expect(const struct file *files, uint64_t limit, uint64_t room)
{
    struct cgroup_memory memory;
    snprintf(root, sizeof root, "/tmp/dp-cgroup-XXXXXX");
    cr_assert_not_null(mkdtemp(root));
    for (; files->path; files++)
        put(files->path, files->text);
    cgroup_memory(root, &memory);
    nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    cr_expect_eq(memory.limit_bytes, limit, "limit %ju instead of %ju", (uintmax_t)memory.limit_bytes,
                 (uintmax_t)limit);
    cr_expect_eq(memory.room_bytes, room, "room %ju instead of %ju", (uintmax_t)memory.room_bytes, (uintmax_t)room);
}

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT                                                                 \
    "35 31 0:32 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"       \
    "36 31 0:33 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n" \
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"

Test(cgroup, there_may_be_none)
{
    expect((const struct file[]){{0}}, NONE, NONE);
    expect((const struct file[]){{"/proc/self/cgroup", "0::/\n"}, {"/proc/self/mountinfo", V2_MOUNT}, {0}}, NONE, NONE);
    expect((const struct file[]){{"/proc/self/cgroup", "no lines of it"}, {"/proc/self/mountinfo", "nor here - "}, {0}},
           NONE, NONE);
}

/* A container of docker or kubernetes: its group is the root of its namespace. */
Test(cgroup, version_2_in_a_namespace)
{
    expect((const struct file[]){{"/proc/self/cgroup", "0::/\n"},
                                 {"/proc/self/mountinfo", V2_MOUNT},
                                 {"/sys/fs/cgroup/memory.max", "314572800\n"},
                                 {"/sys/fs/cgroup/memory.current", "104857600\n"},
                                 {"/sys/fs/cgroup/memory.stat", "anon 5\ninactive_file 20971520\nactive_file 7\n"},
                                 {0}},
           300 * MIB, 220 * MIB);
}

/* systemd's MemoryMax=, Slurm: the whole path, and any group on it may be the narrowest. */
Test(cgroup, version_2_without_a_namespace)
{
    const char *cgroup = "0::/system.slice/dp.service\n";
    expect((const struct file[]){{"/proc/self/cgroup", cgroup},
                                 {"/proc/self/mountinfo", V2_MOUNT},
                                 {"/sys/fs/cgroup/system.slice/memory.max", "max\n"},
                                 {"/sys/fs/cgroup/system.slice/dp.service/memory.max", "1048576000\n"},
                                 {"/sys/fs/cgroup/system.slice/dp.service/memory.current", "1048576\n"},
                                 {0}},
           1000 * MIB, 999 * MIB);
    expect((const struct file[]){{"/proc/self/cgroup", cgroup},
                                 {"/proc/self/mountinfo", V2_MOUNT},
                                 {"/sys/fs/cgroup/system.slice/memory.max", "524288000\n"},
                                 {"/sys/fs/cgroup/system.slice/memory.current", "524288001\n"},
                                 {"/sys/fs/cgroup/system.slice/dp.service/memory.max", "max\n"},
                                 {"/sys/fs/cgroup/memory.max", "1048576000\n"},
                                 {0}},
           500 * MIB, 0);
}

/* The group may have gone on its own way since the mount was made, or be above the namespace's root. */
Test(cgroup, version_2_elsewhere)
{
    expect((const struct file[]){{"/proc/self/cgroup", "0::/../other\n"},
                                 {"/proc/self/mountinfo", V2_MOUNT},
                                 {"/sys/fs/cgroup/memory.max", "1048576\n"},
                                 {0}},
           MIB, MIB);
}

#define UNLIMITED "9223372036854771712\n"

Test(cgroup, version_1)
{
    expect((const struct file[]){{"/proc/self/cgroup", "9:name=systemd:/\n4:memory:/dpcase\n1:cpu:/\n0::/\n"},
                                 {"/proc/self/mountinfo", V1_MOUNT},
                                 {"/sys/fs/cgroup/memory/memory.limit_in_bytes", UNLIMITED},
                                 {"/sys/fs/cgroup/memory/dpcase/memory.limit_in_bytes", "314572800\n"},
                                 {"/sys/fs/cgroup/memory/dpcase/memory.usage_in_bytes", "209715200\n"},
                                 {"/sys/fs/cgroup/memory/dpcase/memory.stat",
                                  "cache 9\ninactive_file 1\ntotal_inactive_file 104857600\n"},
                                 {0}},
           300 * MIB, 200 * MIB);
}

/* Without a namespace a container sees its whole path, and its own group where the mount is. */
Test(cgroup, version_1_in_a_container)
{
    expect((const struct file[]){{"/proc/self/cgroup", "5:cpu,memory:/docker/0a1b\n"},
                                 {"/proc/self/mountinfo", "9 8 0:33 /docker/0a1b /sys/fs/cgroup/cpu,memory rw - cgroup "
                                                          "cgroup rw,cpu,memory\n"},
                                 {"/sys/fs/cgroup/cpu,memory/memory.limit_in_bytes", "104857600\n"},
                                 {0}},
           100 * MIB, 100 * MIB);
}

Test(cgroup, a_mount_of_another_name)
{
    expect((const struct file[]){{"/proc/self/cgroup", "0::/a\n"},
                                 {"/proc/self/mountinfo", "9 8 0:33 / /run/my\\040groups rw - cgroup2 none rw\n"},
                                 {"/run/my groups/a/memory.max", "1048576\n"},
                                 {0}},
           MIB, MIB);
    expect((const struct file[]){{"/proc/self/cgroup", "4:memory:/ab\n"},
                                 {"/proc/self/mountinfo", "9 8 0:33 /a /mem rw - cgroup none rw,memory\n"},
                                 {"/mem/memory.limit_in_bytes", "2097152\n"},
                                 {"/mem/b/memory.limit_in_bytes", "1048576\n"},
                                 {0}},
           2 * MIB, 2 * MIB);
}

Test(cgroup, more_than_there_is_is_told)
{
    dp_error err;
    cr_assert_eq(mem_check_room("d.svm", 1, &err), DP_OK);
    cr_assert_eq(mem_check_room("d.svm", mem_limit_bytes(), &err), DP_NOMEM, "some is taken already");
    cr_assert_not_null(strstr(err.text, "d.svm: out of memory: "), "%s", err.text);
    cr_assert_not_null(strstr(err.text, "control group"), "%s", err.text);
}
