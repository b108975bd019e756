/* Numbers and bytes as text of JSON; see hex.h. Thread: any. */
#include "common/checkpoint/hex.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

enum { HEX_MAX = 17 };

json_t *hex_number(uint64_t number)
{
    char text[HEX_MAX];
    snprintf(text, sizeof text, "%016" PRIx64, number);
    return json_string(text);
}

json_t *hex_double(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return hex_number(bits);
}

json_t *hex_bytes(const void *data, size_t bytes)
{
    static const char DIGITS[] = "0123456789abcdef";
    const unsigned char *from = data;
    char *text = mem_array(2 * bytes + 1, 1);
    if (!text)
        return NULL;
    for (size_t i = 0; i < bytes; i++) {
        text[2 * i] = DIGITS[from[i] >> 4];
        text[2 * i + 1] = DIGITS[from[i] & 15];
    }
    text[2 * bytes] = '\0';
    json_t *json = json_stringn(text, 2 * bytes);
    free(text);
    return json;
}

bool hex_read_number(const json_t *json, uint64_t *ret_number)
{
    const char *text = json_string_value(json);
    if (!text || strlen(text) != HEX_MAX - 1 || strspn(text, "0123456789abcdef") != HEX_MAX - 1)
        return false;
    *ret_number = strtoull(text, NULL, 16);
    return true;
}

bool hex_read_double(const json_t *json, double *ret_number)
{
    uint64_t bits;
    if (!hex_read_number(json, &bits))
        return false;
    memcpy(ret_number, &bits, sizeof bits);
    return true;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_read_bytes(const json_t *json, void **ret_data, size_t *ret_bytes)
{
    const char *text = json_string_value(json);
    size_t length = json_string_length(json);
    unsigned char *data = text && length % 2 == 0 ? mem_array(length / 2, 1) : NULL;
    for (size_t i = 0; data && i < length; i += 2) {
        int high = digit(text[i]), low = digit(text[i + 1]);
        if (high < 0 || low < 0) {
            free(data);
            return false;
        }
        data[i / 2] = (unsigned char)(high << 4 | low);
    }
    *ret_data = data;
    *ret_bytes = data ? length / 2 : 0;
    return data != NULL;
}

bool json_read_count(const json_t *json, uint64_t most, uint64_t *ret_number)
{
    json_int_t number = json_is_integer(json) ? json_integer_value(json) : -1;
    if (number < 0 || (uint64_t)number > most)
        return false;
    *ret_number = (uint64_t)number;
    return true;
}

json_t *json_list(size_t count, json_t *(*value)(const void *list, size_t i), const void *list)
{
    json_t *json = json_array();
    for (size_t i = 0; json && i < count; i++)
        if (json_array_append_new(json, value(list, i))) {
            json_decref(json);
            return NULL;
        }
    return json;
}
