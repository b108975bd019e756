/* Numbers as people read them: each at its edges. */
#include <criterion/criterion.h>

#include <math.h>
#include <string.h>

#include "common/base/human.h"
#include "common/base/util.h"

struct sample {
    double x;
    const char *want;
};

static void check(char *(*text)(double, char *), const struct sample *samples, size_t count, size_t width)
{
    for (size_t i = 0; i < count; i++) {
        char buf[HUMAN_MAX];
        cr_expect_str_eq(text(samples[i].x, buf), samples[i].want, "%g is %s, want %s", samples[i].x, buf,
                         samples[i].want);
        cr_expect_leq(strlen(buf), width, "%s", buf);
    }
}
#define CHECK(text, width, ...)                          \
    do {                                                 \
        const struct sample samples[] = {__VA_ARGS__};   \
        check(text, samples, ARRAY_LEN(samples), width); \
    } while (0)

Test(human, loss)
{
    CHECK(human_loss, 8, {0, "0.00000"}, {0.345678, "0.34568"}, {0.6931472, "0.69315"}, {12.345678, "12.3457"},
          {123.456789, "123.457"}, {99999.4, "99999.4"}, {99999.6, "1.00e+05"}, {1.23e-7, "1.23e-07"},
          {1e-3, "0.00100"}, {9.99e-4, "9.99e-04"}, {9.999996, "10.00000"}, {NAN, "nan"}, {INFINITY, "nan"});
}

Test(human, count)
{
    CHECK(human_count, 6, {0, "0"}, {7.5, "7.5"}, {7, "7"}, {512.4, "512"}, {999.4, "999"}, {999.9, "1.00k"},
          {1000, "1.00k"}, {1234, "1.23k"}, {12345, "12.3k"}, {30000, "30.0k"}, {123456, "123k"}, {999960, "1.00M"},
          {1.5e9, "1.50G"}, {0.04, "0.0"}, {NAN, "-"}, {INFINITY, "-"}, {-1, "-"});
}

Test(human, percent)
{
    CHECK(human_percent, 7, {0, "0.00%"}, {0.849886, "84.99%"}, {1, "100.00%"}, {NAN, "-"});
}

Test(human, clock)
{
    CHECK(human_clock, 8, {0, "0:00"}, {7.4, "0:07"}, {59.6, "1:00"}, {3599, "59:59"}, {3723, "1:02:03"},
          {99 * 3600 + 59, "99:00:59"}, {100 * 3600, "4d04h"}, {NAN, "-"}, {-1, "-"}, {1e300, "-"});
}

Test(human, seconds)
{
    CHECK(human_seconds, 8, {0.521, "0.52 s"}, {7.34, "7.3 s"}, {59.94, "59.9 s"}, {59.96, "1:00"}, {NAN, "-"});
}

Test(human, one_thing_and_more)
{
    cr_assert_str_eq(human_s(0), "s");
    cr_assert_str_eq(human_s(1), "");
    cr_assert_str_eq(human_s(2), "s");
}
