/* Pieces by their ids, of two kinds whose ids do not follow one another. */
#include <criterion/criterion.h>

#include "common/base/util.h"
#include "server/shard/pieces.h"

Test(pieces, are_found_by_their_ids)
{
    static const uint32_t IDS[] = {3, 4, 5, 40, 41};
    struct piece list[ARRAY_LEN(IDS)];
    for (size_t i = 0; i < ARRAY_LEN(IDS); i++)
        list[i] = (struct piece){.id = IDS[i]};
    for (uint32_t count = 0; count <= ARRAY_LEN(IDS); count++) {
        const struct shard shard = {.pieces = list, .piece_count = count};
        uint32_t found = 0;
        for (uint32_t id = 0; id < 50; id++) {
            const struct piece *piece = pieces_find(&shard, id);
            cr_assert(!piece || (piece->id == id && piece < list + count));
            found += piece != NULL;
        }
        cr_assert_eq(found, count);
        cr_assert_null(pieces_find(&shard, UINT32_MAX));
    }
}

Test(pieces, opened_is_that_of_the_furthest)
{
    struct steps windows[] = {{.opened = 7}, {.opened = 9}, {.opened = 8}};
    struct piece list[ARRAY_LEN(windows)];
    for (size_t i = 0; i < ARRAY_LEN(windows); i++)
        list[i] = (struct piece){.id = (uint32_t)i, .window = &windows[i]};
    struct shard shard = {.pieces = list, .piece_count = 1};
    cr_assert_eq(pieces_opened(&shard), 7);
    shard.piece_count = ARRAY_LEN(windows);
    cr_assert_eq(pieces_opened(&shard), 9);
    shard.piece_count = 0;
    cr_assert_eq(pieces_opened(&shard), 0);
}
