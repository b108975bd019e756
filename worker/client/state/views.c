/* theta in shared memory; see views.h. Thread: the client's. */
#include "worker/client/state/views.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/base/mem.h"

static uint64_t page_down(uint64_t byte)
{
    return byte / shm_page() * shm_page();
}

static uint64_t first_byte(const struct view_part *part)
{
    return part->range.first * sizeof(float);
}

static uint64_t end_byte(const struct view_part *part)
{
    return first_byte(part) + part->range.count * sizeof(float);
}

static uint64_t view_bytes(const struct views *views)
{
    return shm_whole_pages((size_t)views->elems * sizeof(float));
}

/* Bytes of theta [*ret_from, *ret_to) on pages that no other part has a share of; none where they are equal. */
static void part_pages(const struct views *views, uint32_t i, uint64_t *ret_from, uint64_t *ret_to)
{
    const struct view_part *part = &views->parts[i];
    bool last = i + 1 == views->part_count;
    *ret_from = shm_whole_pages((size_t)first_byte(part));
    *ret_to = last ? view_bytes(views) : page_down(end_byte(part));
    if (*ret_to < *ret_from)
        *ret_to = *ret_from;
}

/* Offset of byte `byte` of theta in the part's memory. */
static uint64_t part_offset(const struct view_part *part, uint32_t plane, uint64_t byte)
{
    return plane * part->stride_bytes + (byte - page_down(first_byte(part)));
}

static const float *part_at(const struct view_part *part, uint32_t plane, uint64_t byte)
{
    return (const float *)part->memory.base + part_offset(part, plane, byte) / sizeof(float);
}

/* Pages of its own for what is copied, and over them those of the parts. */
static dp_err view_map(struct views *views, uint32_t plane, dp_error *err)
{
    size_t bytes = view_bytes(views);
    void *base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return dp_fail(err, DP_NOMEM, "cannot map %zu MiB: %s", bytes >> 20, strerror(errno));
    views->theta[plane] = base;
    for (uint32_t i = 0; i < views->part_count; i++) {
        const struct view_part *part = &views->parts[i];
        uint64_t from, to;
        part_pages(views, i, &from, &to);
        if (from < to && mmap((char *)base + from, to - from, PROT_READ, MAP_SHARED | MAP_FIXED, part->memory.fd,
                              (off_t)part_offset(part, plane, from)) == MAP_FAILED)
            return dp_fail(err, DP_NOMEM, "cannot map %ju MiB: %s", (uintmax_t)(to - from) >> 20, strerror(errno));
    }
    return DP_OK;
}

/* Checks a shard's description of its memory before anything is looked for in it. */
static dp_err parts_check(const struct views *views, dp_error *err)
{
    uint64_t at = 0;
    for (uint32_t i = 0; i < views->part_count; i++) {
        const struct view_part *part = &views->parts[i];
        uint64_t need = end_byte(part) - page_down(first_byte(part));
        bool fits = part->stride_bytes >= need && part->stride_bytes % shm_page() == 0 &&
                    part->stride_bytes <= part->memory.bytes / views->count;
        if (!fits || part->range.first != at)
            return dp_fail(err, DP_PROTO, "a shard has shared %zu bytes, which are not %u planes of its range",
                           part->memory.bytes, views->count);
        at += part->range.count;
    }
    return DP_OK;
}

dp_err views_init(struct views *views, struct view_part *parts, uint32_t part_count, uint32_t planes, dp_error *err)
{
    *views = (struct views){.count = planes, .part_count = part_count, .parts = parts};
    for (uint32_t i = 0; i < part_count; i++)
        views->elems += parts[i].range.count;
    views->theta = mem_array_zero(planes, sizeof *views->theta);
    dp_err e = views->theta ? parts_check(views, err) : dp_fail(err, DP_NOMEM, "no memory for %u planes", planes);
    for (uint32_t p = 0; e == DP_OK && views->theta && p < planes; p++)
        e = view_map(views, p, err);
    for (uint32_t i = 0; i < part_count; i++)
        shm_close(&parts[i].memory);
    if (e)
        views_fini(views);
    return e;
}

void views_fini(struct views *views)
{
    for (uint32_t p = 0; views->theta && p < views->count; p++)
        if (views->theta[p])
            munmap(views->theta[p], view_bytes(views));
    for (uint32_t i = 0; i < views->part_count; i++)
        shm_fini(&views->parts[i].memory);
    free(views->theta);
    free(views->parts);
    *views = (struct views){0};
}

const float *views_at(const struct views *views, uint32_t plane, uint64_t elem)
{
    const struct view_part *part = views->parts;
    while (elem >= part->range.first + part->range.count)
        part++;
    return part_at(part, plane, elem * sizeof(float));
}

/* Copies bytes [from, to) of theta from the part that has them. */
static void copy_edge(const struct views *views, const struct view_part *part, uint32_t plane, uint64_t from,
                      uint64_t to)
{
    if (from < to)
        memcpy((char *)views->theta[plane] + from, part_at(part, plane, from), to - from);
}

const float *views_finish(struct views *views, uint32_t plane)
{
    for (uint32_t i = 0; i < views->part_count; i++) {
        const struct view_part *part = &views->parts[i];
        uint64_t from, to, first = first_byte(part), end = end_byte(part);
        part_pages(views, i, &from, &to);
        if (from == to) {
            copy_edge(views, part, plane, first, end);
            continue;
        }
        copy_edge(views, part, plane, first, from);
        copy_edge(views, part, plane, to, end);
    }
    return views->theta[plane];
}
