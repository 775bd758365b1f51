/* edge_metrics: what an edge worker counts, from edge/edge_metrics_table.h. */
#ifndef EDGE_EDGE_METRICS_H
#define EDGE_EDGE_METRICS_H

#include "base/metrics.h"
#include "edge/certs.h"
#include "proto/link.h"
#include "proto/reasons.h"
#include "proto/ws_upgrade.h"

enum edge_metric {
#define EDGE_METRIC(id, name, labels, kind, help) EDGE_METRIC_##id,
#include "edge/edge_metrics_table.h"
    EDGE_METRICS,
};

/* The counters of one end reason, nack reason, refused upgrade or token verdict. */
#define EDGE_METRIC_ENDED(reason) edge_metrics_ended((uint32_t)(reason))
#define EDGE_METRIC_NACK(reason) ((size_t)EDGE_METRIC_SENDS_NACKED_BUSY + (size_t)(reason)-1)
#define EDGE_METRIC_TICKET(verdict) ((size_t)EDGE_METRIC_TICKETS_OK + (size_t)(verdict))
#define EDGE_METRIC_UPGRADE(outcome)                                                               \
    ((size_t)EDGE_METRIC_UPGRADE_TOO_LONG + (size_t)(outcome)-WS_UPGRADE_TOO_LONG)
#define EDGE_METRIC_TOKEN(verdict) ((size_t)EDGE_METRIC_TOKENS_OK + (size_t)(verdict))

const struct metric *edge_metrics_table(void);
/* Of a reason that the table knows. */
size_t edge_metrics_ended(uint32_t reason);
/* What one limit holds at the moment, its value, and what it has refused. */
#define EDGE_METRIC_LIMIT_NOW(limit) ((size_t)EDGE_METRIC_LIMIT_NOW_CONNECTIONS + (size_t)(limit)-1)
#define EDGE_METRIC_LIMIT(limit) ((size_t)EDGE_METRIC_LIMIT_CONNECTIONS + (size_t)(limit)-1)
#define EDGE_METRIC_LIMIT_REJECTED(limit)                                                          \
    ((size_t)EDGE_METRIC_LIMIT_REJECTED_CONNECTIONS + (size_t)(limit)-1)

/* Copies the link's counts into the worker's row. */
void edge_metrics_link(struct metrics *metrics, const struct link_counts *counts);
/* How many certificates there are, and when the first of them ends. NULL: none. */
void edge_metrics_certs(struct metrics *metrics, const struct certs *certs);

#endif
