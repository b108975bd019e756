/* Steps, counted once each. Thread: any. */
#include "worker/run/tally.h"

void tally_add(struct tally *tally, uint64_t step)
{
    if (tally->steps == 0 || step > tally->latest) {
        uint64_t on = tally->steps ? step - tally->latest : TALLY_WINDOW;
        tally->seen = on < TALLY_WINDOW ? tally->seen << on : 0;
        tally->latest = step;
    }
    uint64_t back = tally->latest - step;
    if (back >= TALLY_WINDOW || (tally->seen >> back & 1))
        return;
    tally->seen |= UINT64_C(1) << back;
    tally->steps++;
}
