/* Numbers and bytes as text of JSON: exact both ways, and strict. */
#include <criterion/criterion.h>

#include <float.h>
#include <math.h>
#include <string.h>

#include "common/checkpoint/hex.h"
#include "tests/unit/support/leaks.h"

static void expect_number(uint64_t number, const char *text)
{
    uint64_t back = ~number;
    json_t *json = hex_number(number);
    cr_assert_str_eq(json_string_value(json), text);
    cr_assert(hex_read_number(json, &back));
    cr_assert_eq(back, number);
    json_decref(json);
}

Test(hex, numbers)
{
    expect_number(0, "0000000000000000");
    expect_number(0x123456789abcdef0, "123456789abcdef0");
    expect_number(UINT64_MAX, "ffffffffffffffff");
    ASSERT_NO_LEAKS();
}

static void expect_double(double number)
{
    double back = 1;
    json_t *json = hex_double(number);
    cr_assert(hex_read_double(json, &back));
    cr_assert_eq(memcmp(&back, &number, sizeof back), 0, "%a became %a", number, back);
    json_decref(json);
}

Test(hex, doubles_keep_their_bits)
{
    static const double NUMBERS[] = {0,       -0.0,     0.1,       -1e308, DBL_MIN, DBL_TRUE_MIN,
                                     DBL_MAX, INFINITY, -INFINITY, NAN,    -NAN};
    for (size_t i = 0; i < sizeof NUMBERS / sizeof *NUMBERS; i++)
        expect_double(NUMBERS[i]);
    json_t *json = hex_double(1);
    cr_assert_str_eq(json_string_value(json), "3ff0000000000000");
    json_decref(json);
    ASSERT_NO_LEAKS();
}

Test(hex, bytes)
{
    unsigned char all[256];
    void *back;
    size_t bytes;
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (unsigned char)i;
    json_t *json = hex_bytes(all, sizeof all);
    cr_assert_eq(strncmp(json_string_value(json), "000102030405060708090a0b0c0d0e0f10", 34), 0);
    cr_assert(hex_read_bytes(json, &back, &bytes));
    cr_assert_eq(bytes, sizeof all);
    cr_assert_eq(memcmp(back, all, sizeof all), 0);
    free(back);
    json_decref(json);
    json = hex_bytes(NULL, 0);
    cr_assert_str_eq(json_string_value(json), "");
    cr_assert(hex_read_bytes(json, &back, &bytes));
    cr_assert_eq(bytes, 0);
    free(back);
    json_decref(json);
    ASSERT_NO_LEAKS();
}

Test(hex, other_texts_are_refused)
{
    static const char *const TEXTS[] = {"",
                                        "000000000000000",
                                        "00000000000000000",
                                        "000000000000000A",
                                        "0x00000000000000",
                                        " 000000000000000",
                                        "+000000000000000",
                                        "000000000000000g"};
    uint64_t number = 5;
    double real = 5;
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        json_t *json = json_string(TEXTS[i]);
        cr_assert_not(hex_read_number(json, &number), "%s", TEXTS[i]);
        cr_assert_not(hex_read_double(json, &real), "%s", TEXTS[i]);
        json_decref(json);
    }
    json_t *json = json_integer(7);
    cr_assert_not(hex_read_number(json, &number));
    cr_assert_not(hex_read_number(NULL, &number));
    cr_assert(number == 5 && real == 5);
    json_decref(json);
    ASSERT_NO_LEAKS();
}

Test(hex, other_bytes_are_refused)
{
    static const char *const TEXTS[] = {"0", "0g", "g0", "0A", " 0", "000"};
    void *data;
    size_t bytes;
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        json_t *json = json_string(TEXTS[i]);
        cr_assert_not(hex_read_bytes(json, &data, &bytes), "%s", TEXTS[i]);
        json_decref(json);
    }
    json_t *nul = json_stringn("00\0"
                               "0",
                               4);
    cr_assert_not(hex_read_bytes(nul, &data, &bytes));
    json_decref(nul);
    cr_assert_not(hex_read_bytes(NULL, &data, &bytes));
    ASSERT_NO_LEAKS();
}

Test(hex, counts)
{
    uint64_t number = 0;
    json_t *json = json_pack("[i, i, i, f, s]", 7, 8, -1, 7.0, "7");
    cr_assert(json_read_count(json_array_get(json, 0), 7, &number));
    cr_assert_eq(number, 7);
    for (size_t i = 1; i < 6; i++) /* too large, below zero, real, text, absent */
        cr_assert_not(json_read_count(json_array_get(json, i), 7, &number), "%zu", i);
    cr_assert_eq(number, 7);
    json_decref(json);
    ASSERT_NO_LEAKS();
}
