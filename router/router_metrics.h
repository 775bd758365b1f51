/* router_metrics: what a shard counts, from router/router_metrics_table.h. */
#ifndef ROUTER_ROUTER_METRICS_H
#define ROUTER_ROUTER_METRICS_H

#include "base/metrics.h"
#include "proto/link.h"
#include "router/flight.h"
#include "router/roster.h"

enum router_metric {
#define ROUTER_METRIC(id, name, labels, kind, help) ROUTER_METRIC_##id,
#include "router/router_metrics_table.h"
    ROUTER_METRICS,
};

/* What the shard itself ends; flight counts the rest. */
struct router_metrics_sends {
    uint64_t accepted;
    uint64_t nacked[16]; /* by enum nack_reason */
    uint64_t passed_on, shed_credit, shed_offline, malformed;
    uint64_t deliveries; /* EPHEMERAL, made and passed on */
    uint64_t in_flight, deliveries_in_flight;
};

const struct metric *router_metrics_table(void);
/* Each copies what was counted elsewhere into the worker's row. */
void router_metrics_link(struct metrics *metrics, const struct link_counts *counts);
void router_metrics_ledger(struct metrics *metrics, const struct router_metrics_sends *sends,
                           const struct flight_counts *flight);
void router_metrics_limits(struct metrics *metrics, const struct router_metrics_sends *sends,
                           const struct flight_counts *counts, const struct flight_levels *levels,
                           const struct roster *roster);
void router_metrics_roster(struct metrics *metrics, const struct roster *roster);

#endif
