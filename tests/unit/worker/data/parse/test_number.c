/* Numbers of data files: the float nearest to the decimal, whatever the locale. */
#include <criterion/criterion.h>

#include <locale.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/data/parse/number.h"

static float number(const char *text)
{
    float v = -77;
    const char *after = number_scan(text, text + strlen(text), &v);
    cr_assert_not_null(after, "%s", text);
    cr_assert_eq(*after, '\0', "%s", text);
    return v;
}

static void assert_bits(float a, float b, const char *text)
{
    cr_assert(memcmp(&a, &b, sizeof a) == 0, "%s: %a is not %a", text, (double)a, (double)b);
}

Test(number, equals_strtof_on_hard_cases)
{
    static const char *const CASES[] = {"0",
                                        "-0",
                                        "+0",
                                        "0e99999999999",
                                        "1",
                                        "-1",
                                        "+1",
                                        "1.",
                                        ".5",
                                        "-.5e1",
                                        "1e0",
                                        "1E+2",
                                        "1e-2",
                                        "007",
                                        "3.14159",
                                        "0.1",
                                        "0.3",
                                        "16777216",
                                        "16777217",
                                        "16777219",
                                        "33554435",
                                        "9007199254740993",
                                        "1.00000005960464477539",
                                        "1.000000059604644775390625",
                                        "1.0000000596046447753906250000000000000000000000000001",
                                        "1.0000001788139343261718749999999999999999999999999999",
                                        "1.1754943508222875e-38",
                                        "1.1754942e-38",
                                        "1e-45",
                                        "7.0064923216240853546186479164495806564013097093825788587853e-46",
                                        "7.0064923216240854e-46",
                                        "1e-46",
                                        "1e-99",
                                        "3.4028234663852886e38",
                                        "3.40282356e38",
                                        "340282346638528859811704183484516925440",
                                        "123456789012345678901",
                                        "0.000000000000000000000000000000000000000000001",
                                        "8388608.5",
                                        "8388609.5",
                                        "4194304.25",
                                        "1e22",
                                        "1e23",
                                        "9007199254740992e22",
                                        "0.00000000000000000000001",
                                        "12345678901234567e-5",
                                        "2.2250738585072014e-308"};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++)
        assert_bits(number(CASES[i]), strtof(CASES[i], NULL), CASES[i]);
}

Test(number, equals_strtof_on_many)
{
    uint64_t state = 88172645463325252u;
    char text[64];
    for (int i = 0; i < 300000; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        int32_t bits = (int32_t)state;
        float f;
        memcpy(&f, &bits, sizeof f);
        if (!isfinite(f))
            continue;
        snprintf(text, sizeof text, i % 3 == 0 ? "%.6g" : i % 3 == 1 ? "%.9g" : "%.17g", (double)f);
        assert_bits(number(text), strtof(text, NULL), text);
        /* Midpoints between floats, and their neighbours. */
        double middle = (double)f + ((double)nextafterf(f, INFINITY) - (double)f) / 2;
        if (!isfinite((float)middle))
            continue;
        snprintf(text, sizeof text, "%.*g", 9 + i % 9, middle);
        assert_bits(number(text), strtof(text, NULL), text);
        snprintf(text, sizeof text, "%.*f", i % 12, (double)(int64_t)(state >> 40) / 1024.0);
        assert_bits(number(text), strtof(text, NULL), text);
    }
}

Test(number, refuses_what_is_no_finite_number)
{
    static const char *const CASES[] = {"",
                                        "-",
                                        "+",
                                        ".",
                                        "e5",
                                        "-e5",
                                        "nan",
                                        "NaN",
                                        "inf",
                                        "-Infinity",
                                        "1e39",
                                        "3.4028236e38",
                                        "-1e400",
                                        "x",
                                        " 1",
                                        "--1",
                                        "1e99999999999999999999"};
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        float v = 5;
        cr_assert_null(number_scan(CASES[i], CASES[i] + strlen(CASES[i]), &v), "'%s'", CASES[i]);
        cr_assert_eq(v, 5.0f);
    }
    static const char *const ENDS_EARLY[] = {"0x10", "1e", "1e+", "1.2.3", "1,5", "1_000", "5f", "1 "};
    for (size_t i = 0; i < sizeof ENDS_EARLY / sizeof ENDS_EARLY[0]; i++) {
        float v;
        const char *text = ENDS_EARLY[i], *after = number_scan(text, text + strlen(text), &v);
        cr_assert(after && *after, "'%s'", text);
    }
}

Test(number, length_is_bounded)
{
    char text[NUMBER_CHARS_MAX + 2];
    memset(text, '3', sizeof text);
    memcpy(text, "0.", 2);
    float v = 0;
    cr_assert_not_null(number_scan(text, text + NUMBER_CHARS_MAX, &v));
    assert_bits(v, 1.0f / 3.0f, "1/3");
    cr_assert_null(number_scan(text, text + NUMBER_CHARS_MAX + 1, &v));
    cr_assert_not_null(strstr(number_fault(text, NUMBER_CHARS_MAX + 1), "400 characters"));
}

Test(number, is_free_of_the_locale)
{
    const char *const comma[] = {"de_DE.UTF-8", "de_DE.utf8", "fr_FR.UTF-8", "C.UTF-8"};
    for (size_t i = 0; i < 4 && !setlocale(LC_ALL, comma[i]); i++)
        ;
    assert_bits(number("1.0000000596046447753906250000000000000000000000000001"), nextafterf(1, 2), "above the middle");
}
