/* Roots; see root.h. Thread: any. */
#include "common/terms/root.h"

#include <math.h>

enum { ROUNDS_MAX = 200 };

void root_start(struct root *root, double low, double high, double at)
{
    *root = (struct root){.at = at, .low = low, .high = high, .last = INFINITY};
}

/* The next point if Newton's step leaves the bracket or was of little use: its middle, or further out while there is no
 * bracket. */
static double without_slope(const struct root *root)
{
    if (isfinite(root->high))
        return root->low + (root->high - root->low) / 2;
    return root->low + 1 + fabs(root->low);
}

void root_round(struct root *root, double f, double slope, double close)
{
    bool slow = fabs(f) > root->last / 2 && isfinite(root->high);
    if (!(fabs(f) > close) || !isfinite(f) || ++root->rounds == ROUNDS_MAX) {
        root->done = true;
        return;
    }
    root->last = fabs(f);
    if (f > 0)
        root->low = root->at;
    else
        root->high = root->at;
    double next = slope < 0 ? root->at - f / slope : NAN;
    if (slow || !(next > root->low && next < root->high))
        next = without_slope(root);
    if (next > root->low && next < root->high)
        root->at = next;
    else
        root->done = true;
}
