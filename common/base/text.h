/* Texts that cross the wire and end on somebody's terminal: valid UTF-8 without control characters. Thread: any. */
#ifndef DP_COMMON_BASE_TEXT_H
#define DP_COMMON_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Whether all of text[length] is well-formed UTF-8 (RFC 3629) without control characters (C0, DEL, C1). */
bool text_printable(const char *text, size_t length);
/* Copies src into dst[size], size >= 1, so that it passes text_printable: each byte that is none becomes '?', and what
 * does not fit is cut at a character. For file names, host names and error texts that are about to be sent. */
void text_clean(char *dst, size_t size, const char *src);

/* snprintf that appends at *at and never runs past `size`; returns false once the text was cut. */
bool str_append(char *buf, size_t size, size_t *at, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* Copies src into dst[size], cutting if needed; returns false when it was cut. */
bool str_copy(char *dst, size_t size, const char *src);

#endif
