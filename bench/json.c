#include "bench/json.h"

#include "base/log.h"

#include <stdio.h>

#define CURVE_TENTHS 9u
#define CURVE_TAIL 6u /* powers of ten towards 1 */

static void head(const char *name)
{
    printf(",\"%s\":", name);
}

void json_text(const char *name, const char *value)
{
    char text[1024];
    size_t len = log_json_string(text, sizeof text, span_text(value));
    head(name);
    printf("%.*s", len ? (int)len : 2, len ? text : "\"\"");
}

void json_count(const char *name, uint64_t value)
{
    head(name);
    printf("%llu", (unsigned long long)value);
}

void json_real(const char *name, double value)
{
    head(name);
    printf("%.6g", value);
}

static double us_at(const struct hist *hist, double share)
{
    return (double)hist_at(hist, share) / 1e3;
}

static void point(const struct hist *hist, double share, const char *before)
{
    printf("%s[%.8g,%.6g]", before, share, us_at(hist, share));
}

/* Tenths, then ever closer to 1, as far as there are values. */
static void print_curve(const struct hist *hist)
{
    double rest = 0.1;
    printf(",\"curve\":[");
    point(hist, 0, "");
    for (uint32_t i = 1; i <= CURVE_TENTHS * 2; i++)
        point(hist, i / (CURVE_TENTHS * 2.0 + 2), ",");
    for (uint32_t i = 0; i < CURVE_TAIL && rest * (double)hist->count >= 1; i++, rest /= 10) {
        static const double steps[] = {1, 0.5, 0.25, 0.15};
        for (size_t step = i == 0; step < sizeof steps / sizeof *steps; step++)
            point(hist, 1 - rest * steps[step], ",");
    }
    point(hist, 1, ",");
    printf("]");
}

void json_latency(const char *name, const struct hist *hist, bool curve)
{
    head(name);
    printf("{\"count\":%llu", (unsigned long long)hist->count);
    json_real("p50", us_at(hist, 0.5));
    json_real("p90", us_at(hist, 0.9));
    json_real("p99", us_at(hist, 0.99));
    json_real("p99.9", us_at(hist, 0.999));
    json_real("p99.99", us_at(hist, 0.9999));
    json_real("max", (double)hist->max / 1e3);
    if (curve && hist->count > 0)
        print_curve(hist);
    printf("}");
}
