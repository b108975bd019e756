/* Room for the copies that a shard's slices keep at a cut: memory that stays from cut to cut, so that no commit waits
 * for the kernel to find pages. While nothing is kept, the kernel may take its pages for other uses.
 *
 * Invariants:
 *   1. A cell is its taker's from keep_cell_take until the blob is released. One that is taken is not
 * taken again.
 *   2. The room lives as long as its maker, or a taken cell, or who retained it.
 * Thread: shard; releases and keep_room_fault_in from any. */
#ifndef DP_SERVER_DENSE_KEEP_ROOM_H
#define DP_SERVER_DENSE_KEEP_ROOM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/mem.h"

struct keep_room;

/* Room for one array of a slice. */
struct keep_cell {
    struct keep_room *room;
    float *floats;
    _Atomic bool taken;
};

/* For `arrays` arrays of each of `slices` slices, which have `floats` elements in all. NULL: out of memory. */
struct keep_room *keep_room_new(uint32_t slices, uint64_t floats, uint32_t arrays);
void keep_room_retain(struct keep_room *room);
/* Accepts NULL. */
void keep_room_release(struct keep_room *room);
/* The cells of another slice, which has `count` elements: [arrays], which are the room's. */
struct keep_cell *keep_room_cells(struct keep_room *room, uint64_t count);
/* Finds the pages of the first `arrays` arrays of all slices, until a cell is taken or the maker lets the room go. The
 * caller has retained it. Changes no byte. */
void keep_room_fault_in(struct keep_room *room, uint32_t arrays);
/* Lets the kernel take the pages if it needs them. Does nothing while a cell is taken. */
void keep_room_rest(struct keep_room *room);

/* `count` floats whose release gives the cell back; empty: it is taken. */
struct blob keep_cell_take(struct keep_cell *cell, uint64_t count);

#endif
