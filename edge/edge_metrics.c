#include "edge/edge_metrics.h"

#include <time.h>

static const struct metric table[] = {
#define GAUGE METRIC_GAUGE
#define COUNTER METRIC_COUNTER
#define EDGE_METRIC(id, name, labels, kind, help) {name, labels, kind, help},
#include "edge/edge_metrics_table.h"
};

static_assert(sizeof table / sizeof table[0] == EDGE_METRICS, "each metric has its line");

static const uint16_t ended[END_REASONS] = {
#define END_REASON(name, number, label, fault, next, text) [number] = EDGE_METRIC_CLOSED_##name,
#include "proto/end_reasons.h"
};

size_t edge_metrics_ended(uint32_t reason)
{
    assert(reasons_end_known(reason));
    return ended[reason];
}

const struct metric *edge_metrics_table(void)
{
    return table;
}

void edge_metrics_link(struct metrics *metrics, const struct link_counts *counts)
{
#define LINK_COUNT(name, help) metrics_set(metrics, EDGE_METRIC_LINK_##name, counts->name);
#include "proto/link_counts.h"
}

void edge_metrics_certs(struct metrics *metrics, const struct certs *certs)
{
    if (certs == NULL)
        return;
    metrics_set(metrics, EDGE_METRIC_TLS_CERTIFICATES, certs_count(certs));
    metrics_set(metrics, EDGE_METRIC_TLS_DAYS_LEFT, certs_days_left(certs, time(NULL)));
}
