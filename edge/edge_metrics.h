/* edge_metrics: what an edge worker counts, from edge/edge_metrics_table.h. */
#ifndef EDGE_EDGE_METRICS_H
#define EDGE_EDGE_METRICS_H

#include "base/metrics.h"
#include "proto/link.h"

enum edge_metric {
#define EDGE_METRIC(id, name, labels, kind, help) EDGE_METRIC_##id,
#include "edge/edge_metrics_table.h"
    EDGE_METRICS,
};

/* The counters of one end reason, nack reason or token verdict. */
#define EDGE_METRIC_ENDED(reason) ((size_t)EDGE_METRIC_CLOSED_PEER_LEFT + (size_t)(reason)-1)
#define EDGE_METRIC_NACK(reason) ((size_t)EDGE_METRIC_SENDS_NACKED_BUSY + (size_t)(reason)-1)
#define EDGE_METRIC_TOKEN(verdict) ((size_t)EDGE_METRIC_TOKENS_OK + (size_t)(verdict))

const struct metric *edge_metrics_table(void);
/* Copies the link's counts into the worker's row. */
void edge_metrics_link(struct metrics *metrics, const struct link_counts *counts);

#endif
