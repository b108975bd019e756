/* Random bits from the kernel. Thread: any. */
#include "common/base/entropy.h"

#include <sys/random.h>

uint64_t entropy_u64(void)
{
    uint64_t x = 0;
    while (x == 0)
        if (getrandom(&x, sizeof x, 0) != (ssize_t)sizeof x)
            x = 0;
    return x;
}
