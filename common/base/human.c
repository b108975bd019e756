/* Numbers as people read them. Thread: any. */
#include "common/base/human.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

/* Rounds to `digits` significant digits first, so that 999.96 becomes 1.00k and not 1000. */
static double rounded(double x, int digits)
{
    if (x == 0)
        return 0;
    double scale = pow(10, digits - 1 - (int)floor(log10(fabs(x))));
    return isfinite(scale) ? round(x * scale) / scale : x;
}

char *human_loss(double x, char buf[HUMAN_MAX])
{
    double size = fabs(x);
    if (!isfinite(x))
        snprintf(buf, HUMAN_MAX, "nan");
    else if (size != 0 && (size < 1e-3 || size >= 99999.5))
        snprintf(buf, HUMAN_MAX, "%.2e", x);
    else
        snprintf(buf, HUMAN_MAX, "%.*f", size < 10 ? 5 : size < 100 ? 4 : size < 1000 ? 3 : size < 10000 ? 2 : 1, x);
    return buf;
}

char *human_count(double x, char buf[HUMAN_MAX])
{
    static const char UNITS[] = " kMGTPE";
    if (!isfinite(x) || x < 0) {
        snprintf(buf, HUMAN_MAX, "-");
        return buf;
    }
    double shown = rounded(x, 3);
    int unit = 0;
    while (shown >= 1000 && UNITS[unit + 1]) {
        shown /= 1000;
        unit++;
    }
    bool is_whole = !unit && shown == floor(shown);
    int decimals = is_whole || shown >= 100 ? 0 : shown >= 10 || !unit ? 1 : 2;
    snprintf(buf, HUMAN_MAX, unit ? "%.*f%c" : "%.*f", decimals, shown, UNITS[unit]);
    return buf;
}

char *human_percent(double share, char buf[HUMAN_MAX])
{
    snprintf(buf, HUMAN_MAX, isfinite(share) ? "%.2f%%" : "-", 100 * share);
    return buf;
}

char *human_clock(double seconds, char buf[HUMAN_MAX])
{
    if (!(seconds >= 0 && seconds < 1e9)) {
        snprintf(buf, HUMAN_MAX, "-");
        return buf;
    }
    uint64_t s = (uint64_t)(seconds + 0.5), minutes = s / 60, hours = minutes / 60;
    if (hours >= 100)
        snprintf(buf, HUMAN_MAX, "%llud%02lluh", (unsigned long long)hours / 24, (unsigned long long)hours % 24);
    else if (hours)
        snprintf(buf, HUMAN_MAX, "%d:%02d:%02d", (int)hours, (int)(minutes % 60), (int)(s % 60));
    else
        snprintf(buf, HUMAN_MAX, "%d:%02d", (int)minutes, (int)(s % 60));
    return buf;
}

char *human_seconds(double seconds, char buf[HUMAN_MAX])
{
    if (seconds >= 0 && seconds < 59.95)
        snprintf(buf, HUMAN_MAX, seconds < 0.995 ? "%.2f s" : "%.1f s", seconds);
    else
        human_clock(seconds, buf);
    return buf;
}

const char *human_s(uint64_t n)
{
    return n == 1 ? "" : "s";
}
