/* The text of a log line from its format and arguments. Internal to the log. Thread: any. */
#ifndef DP_COMMON_BASE_LOG_FORMAT_H
#define DP_COMMON_BASE_LOG_FORMAT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/* As vsnprintf to buf[size], but for %s: within quotes of the format (key="%s") each " and \ of the argument gets a \
 * before it; as a whole value (key=%s) an argument that is empty or has one of these, a blank or a = is put in quotes
 * as well. So no argument can end its own value and begin another key. Conversions: %s with width and precision, and
 * those of one number or pointer; no %n, no %*d. Returns false once the text was cut. */
bool log_format(char *buf, size_t size, const char *fmt, va_list args) __attribute__((format(printf, 3, 0)));

#endif
