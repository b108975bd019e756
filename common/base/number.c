/* Numbers that are to become floats. Thread: any. */
#include "common/base/number.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

bool float_vanishes(double x)
{
    return x != 0 && (float)x == 0;
}

double float_parse(const char *text, char **ret_end, bool *ret_vanishes)
{
    errno = 0;
    double x = strtod(text, ret_end);
    if (*ret_end > text + strspn(text, "0123456789+-.eE")) {
        *ret_end = (char *)text;
        x = 0;
    }
    *ret_vanishes = float_vanishes(x) || (x == 0 && errno == ERANGE);
    return x;
}

/* The bits of a value that is not finite have an exponent of ones only, to which one more carries into the sign's
 * place: without a branch, the compiler makes vectors of it. */
bool floats_finite(size_t n, const float *x)
{
    uint32_t carry = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        carry |= (bits & UINT32_C(0x7fffffff)) + UINT32_C(0x00800000);
    }
    return !(carry >> 31);
}
