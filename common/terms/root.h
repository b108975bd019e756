/* The root of a function that nowhere rises: Newton's steps, kept within a bracket. The caller evaluates the function,
 * so that what it is the sum of may cross shards between two rounds; the next point is a function of the values alone.
 * Thread: any. */
#ifndef DP_COMMON_TERMS_ROOT_H
#define DP_COMMON_TERMS_ROOT_H

#include <stdbool.h>
#include <stdint.h>

struct root {
    double at;        /* the next point at which the function is wanted; the root, once done */
    double low, high; /* f(low) >= 0 >= f(high); infinite: not known yet */
    double last;      /* |f| one round ago */
    uint32_t rounds;
    bool done;
};

/* f(low) >= 0 >= f(high); low is finite, high may be INFINITY. low <= at <= high. */
void root_start(struct root *root, double low, double high, double at);
/* f and its slope at root->at. Done where |f| <= close, where the bracket has no number inside any more, and where f is
 * no number. */
void root_round(struct root *root, double f, double slope, double close);

#endif
