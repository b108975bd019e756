/* The mini server's table. */
#include "tests/unit/support/mini_rows.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "proto/frame_rows.h"
#include "tests/unit/support/mini_impl.h"

void mini_rows_touched(uint64_t step, uint32_t slot, uint64_t ids[MINI_ROWS_OF_SLOT])
{
    ids[0] = slot;               /* its own */
    ids[1] = 10 + (step + slot); /* another one each step */
    ids[2] = 49;                 /* everybody's, one on each shard */
    ids[3] = 50 + slot / 2;      /* its neighbour's as well */
}

float mini_row_gradient(uint64_t train_step, uint32_t slot, uint64_t id, uint32_t c)
{
    return (float)(1 + slot + 10 * train_step + 100 * id + 1000 * c);
}

void mini_rows_start(struct mini *m)
{
    mini_rows_free(m);
    for (uint32_t p = 0; p < MINI_SHARDS; p++) {
        m->parts[p] = (struct mini_part){.open = atomic_load(&m->opts.start_step)};
        for (uint32_t i = 0; i < MINI_PART_ROWS; i++)
            m->parts[p].theta[i][0] = (float)(p * MINI_PART_ROWS + i);
    }
}

static void lists_forget(struct mini_part *part)
{
    for (size_t i = 0; i < part->list_count; i++)
        free(part->lists[i].ids);
    part->list_count = 0;
}

void mini_rows_free(struct mini *m)
{
    for (uint32_t p = 0; p < MINI_SHARDS; p++)
        lists_forget(&m->parts[p]);
}

/* The list that is named, which may have come along; NULL if it is not known. */
static const struct mini_list *list_of(struct mini *m, struct mini_part *part, const Dp__Keys *keys, const void *ids)
{
    static const struct mini_list empty;
    if (!keys || keys->count == 0)
        return &empty;
    for (size_t i = 0; i < part->list_count; i++)
        if (part->lists[i].hash == keys->hash)
            return &part->lists[i];
    if (!keys->sent)
        return NULL;
    cr_assert_lt(part->list_count, MINI_LISTS);
    struct mini_list *list = &part->lists[part->list_count++];
    *list = (struct mini_list){keys->hash, keys->count, mem_array(keys->count, sizeof(uint64_t))};
    memcpy(list->ids, ids, keys->count * sizeof(uint64_t));
    cr_assert_eq(frame_keys_hash(list->ids, keys->count), keys->hash);
    atomic_fetch_add(&m->lists, 1);
    return list;
}

static float *row_of(float rows[MINI_PART_ROWS][MINI_DIM], uint32_t part, uint64_t id)
{
    cr_assert_eq(id / MINI_PART_ROWS, part, "row %lu of part %u", (unsigned long)id, part);
    return rows[id % MINI_PART_ROWS];
}

static void send_rows(struct mini *m, struct mini_peer to, uint32_t p, uint64_t step, const struct mini_list *list)
{
    float values[MINI_PART_ROWS][MINI_DIM];
    Dp__Header header = DP__HEADER__INIT;
    Dp__Rows body = DP__ROWS__INIT;
    for (uint32_t i = 0; i < list->count; i++)
        memcpy(values[i], row_of(m->parts[p].theta, p, list->ids[i]), sizeof values[i]);
    body.part = MINI_ALL + p;
    body.step = step;
    body.last = step == plan_total(&m->plan);
    body.keys = list->hash;
    body.count = list->count;
    header.body_case = DP__HEADER__BODY_ROWS;
    header.rows = &body;
    const int wrong = atomic_load(&m->opts.wrong_rows);
    body.unchanged = wrong == MINI_UNCHANGED;
    body.keys += wrong == MINI_OTHER_LIST;
    if (wrong == MINI_FOREIGN_PART)
        body.part = MINI_ALL + (p + 1) % MINI_SHARDS;
    bool empty = body.last || body.unchanged || list->count == 0;
    mini_send(m, to, m->worker_session, 0, &header, empty ? NULL : values,
              list->count * sizeof values[0] - (wrong == MINI_SHORT ? sizeof(float) : 0));
}

static void take_pull(struct mini *m, struct mini_peer from, const Dp__Header *header, uint32_t p,
                      const struct mini_list *list)
{
    struct mini_part *part = &m->parts[p];
    const uint64_t step = header->rows_push_pull->pull_step;
    if (use_up(&m->opts.drop_params))
        return;
    if (step < part->open) {
        send_error(m, from, header, DP_STEP_DONE, part->open);
    } else if (step == part->open) {
        send_rows(m, from, p, step, list);
    } else {
        part->parked = true;
        part->parked_step = step;
        part->parked_list = *list;
        memcpy(part->parked_id, from.id, from.id_size);
        part->parked_id_size = from.id_size;
    }
}

static void part_commit(struct mini *m, uint32_t p, void *socket)
{
    struct mini_part *part = &m->parts[p];
    for (uint32_t i = 0; i < MINI_PART_ROWS; i++)
        for (uint32_t c = 0; c < MINI_DIM; c++)
            part->theta[i][c] += part->sum[i][c];
    memset(part->sum, 0, sizeof part->sum);
    part->covered = 0;
    part->open++;
    if (part->parked && part->parked_step == part->open) {
        part->parked = false;
        send_rows(m, (struct mini_peer){socket, part->parked_id, part->parked_id_size}, p, part->open,
                  &part->parked_list);
    }
}

static void take_push(struct mini *m, void *socket, uint32_t p, const Dp__RowsPushPull *msg,
                      const struct mini_list *list, const void *values)
{
    struct mini_part *part = &m->parts[p];
    uint64_t node = node_slots(m, msg->step, msg->level, msg->index);
    if (msg->step != part->open || (part->covered & node)) {
        atomic_fetch_add(&m->duplicates, 1);
        return;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        float row[MINI_DIM], *sum = row_of(part->sum, p, list->ids[i]);
        memcpy(row, (const char *)values + i * sizeof row, sizeof row);
        for (uint32_t c = 0; c < MINI_DIM; c++)
            sum[c] += row[c];
    }
    part->covered |= node;
    atomic_fetch_add(&m->row_pushes, 1);
    if (part->covered == slots_with_rows(m, part->open))
        part_commit(m, p, socket);
}

void mini_rows_take(struct mini *m, struct mini_peer from, const Dp__Header *header, const void *const *payload)
{
    const Dp__RowsPushPull *msg = header->rows_push_pull;
    const struct frame_rows at = frame_rows_of(msg);
    const uint32_t p = msg->part - MINI_ALL;
    cr_assert_lt(p, MINI_SHARDS);
    struct mini_part *part = &m->parts[p];
    if (use_up(&m->opts.forget_lists))
        lists_forget(part);
    const struct mini_list *pushed =
        list_of(m, part, msg->push_keys, at.push_ids == FRAME_NONE ? NULL : payload[at.push_ids]);
    const struct mini_list *pulled =
        msg->pull_keys ? list_of(m, part, msg->pull_keys, at.pull_ids == FRAME_NONE ? NULL : payload[at.pull_ids])
                       : pushed;
    if (!pushed || !pulled) {
        send_keys_unknown(m, from, header, pushed ? msg->pull_keys->hash : msg->push_keys->hash);
        return;
    }
    if (msg->push)
        take_push(m, from.socket, p, msg, pushed, at.values == FRAME_NONE ? NULL : payload[at.values]);
    if (msg->pull)
        take_pull(m, from, header, p, pulled);
}
