/* Numbers of the display as JSON; see sums.h. Thread: head. */
#include "server/show/sums.h"

#include <math.h>

json_t *sums_real(double number)
{
    return isfinite(number) ? json_real(number) : json_null();
}

void sums_read_real(const json_t *sums, const char *name, double *ret_number)
{
    const json_t *value = json_object_get(sums, name);
    if (json_is_number(value))
        *ret_number = json_number_value(value);
    else if (json_is_null(value))
        *ret_number = NAN;
}

void sums_read_count(const json_t *sums, const char *name, uint64_t *ret_number)
{
    const json_t *value = json_object_get(sums, name);
    if (json_is_integer(value) && json_integer_value(value) >= 0)
        *ret_number = (uint64_t)json_integer_value(value);
}
