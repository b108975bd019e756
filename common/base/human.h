/* Numbers as people read them in tables: short, of a known width, "-" for what is not known (NaN). All return buf.
 * Thread: any. */
#ifndef DP_COMMON_BASE_HUMAN_H
#define DP_COMMON_BASE_HUMAN_H

#include <stdint.h>

enum { HUMAN_MAX = 24 };

/* A loss: "0.34568", "12.3457", "1.23e-07"; at most 8 characters. A loss that is no number any more is "nan". */
char *human_loss(double x, char buf[HUMAN_MAX]);
/* A count or a rate in steps of thousands: "7.5", "512", "12.3k", "1.23M"; at most 6 characters. */
char *human_count(double x, char buf[HUMAN_MAX]);
/* A share of 1: "84.99%"; at most 7 characters. */
char *human_percent(double share, char buf[HUMAN_MAX]);
/* A time: "0:07", "59:59", "1:02:03", "4d03h"; at most 8 characters. */
char *human_clock(double seconds, char buf[HUMAN_MAX]);
/* A duration in words: "0.52 s", "7.3 s", else as human_clock. */
char *human_seconds(double seconds, char buf[HUMAN_MAX]);

/* The ending of a noun behind a number of things: "" for 1, else "s". */
const char *human_s(uint64_t n);

#endif
