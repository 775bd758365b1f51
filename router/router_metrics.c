#include "router/router_metrics.h"

static const struct metric table[] = {
#define GAUGE METRIC_GAUGE
#define COUNTER METRIC_COUNTER
#define ROUTER_METRIC(id, name, labels, kind, help) {name, labels, kind, help},
#include "router/router_metrics_table.h"
};

static_assert(sizeof table / sizeof table[0] == ROUTER_METRICS, "each metric has its line");

const struct metric *router_metrics_table(void)
{
    return table;
}

void router_metrics_link(struct metrics *metrics, const struct link_counts *counts)
{
#define LINK_COUNT(name, help) metrics_set(metrics, ROUTER_METRIC_LINK_##name, counts->name);
#include "proto/link_counts.h"
}

void router_metrics_ledger(struct metrics *metrics, const struct router_metrics_sends *sends,
                           const struct flight_counts *flight)
{
#define SET(id, value) metrics_set(metrics, ROUTER_METRIC_##id, value)
    SET(SENDS, sends->accepted);
    SET(SENDS_ACKED, flight->acked);
#define NACK_REASON(name, number, label, outcome, text)                                            \
    SET(SENDS_NACKED_##name, sends->nacked[number] + flight->nacked[number]);
#include "proto/nack_reasons.h"
    SET(SENDS_UNKNOWN, flight->unknown);
    SET(SENDS_PASSED, sends->passed_on);
    SET(SENDS_SHED, sends->shed_credit);
    SET(SENDS_SHED_OFFLINE, sends->shed_offline);
    SET(SENDS_REPEATED, flight->repeated);
    SET(SENDS_OLD_SESSION, flight->old_session);
    SET(SENDS_MALFORMED, sends->malformed + flight->malformed);
    SET(SENDS_IN_FLIGHT, sends->in_flight);
    SET(DELIVERIES, sends->deliveries + flight->made);
    SET(DELIVERIES_ACKED, flight->acknowledged);
    SET(DELIVERIES_PASSED, sends->deliveries);
    SET(DELIVERIES_OLD, flight->superseded);
    SET(DELIVERIES_EXPIRED, flight->expired);
    SET(DELIVERIES_GONE, flight->session_gone);
    SET(DELIVERIES_IN_FLIGHT, sends->deliveries_in_flight);
    SET(REDELIVERED, flight->redelivered);
    SET(GAPS, flight->gaps);
    SET(GAPS_DAMPED, flight->gaps_damped);
    SET(REFUSED_RECEIVED, flight->received_refused);
    SET(FORGOTTEN_EARLY, flight->forgotten_early);
}

void router_metrics_roster(struct metrics *metrics, const struct roster *roster)
{
    const struct roster_counts *counts = roster_counts(roster);
    const struct store_counts *store = roster_store_counts(roster);
    struct roster_edges edges = roster_edges(roster);
    SET(RECORDS, roster_records(roster));
    SET(RECORDS_SILENT, edges.records_silent);
    SET(RECORDS_BYTES, roster_bytes(roster));
    SET(BOUND, counts->bound);
    SET(UNBOUND, counts->unbound);
    SET(REPLACED, counts->replaced);
    SET(TOO_MANY, counts->too_many);
    SET(TOO_OLD, counts->too_old);
    SET(KICKED, counts->kicked);
    SET(ANNOUNCED, counts->announced);
    SET(NO_SESSION, counts->no_session);
    SET(SWEPT, counts->swept);
    SET(ROUNDS, counts->rounds);
    SET(ROUNDS_AGAIN, counts->rounds_again);
    SET(DRIFT, counts->drift);
    SET(UNOWNED, counts->unowned);
    SET(REFUSED, counts->refused);
    SET(EDGES_UP, edges.up);
    SET(EDGES_SILENT, edges.silent);
    SET(STORE_WRITES, store->writes);
    SET(STORE_COMMANDS, store->commands);
    SET(STORE_DROPPED, store->dropped);
    SET(STORE_ERRORS, store->errors);
    SET(STORE_SLOTS, store->slots_written);
    SET(STORE_QUEUED, store->queued);
    SET(STORE_TO_WRITE, store->slots_to_write);
}

void router_metrics_limits(struct metrics *metrics, const struct router_metrics_sends *sends,
                           const struct flight_counts *counts, const struct flight_levels *levels,
                           const struct roster *roster)
{
    const struct roster_counts *records = roster_counts(roster);
    const struct store_counts *store = roster_store_counts(roster);
    struct roster_edges edges = roster_edges(roster);
    SET(LIMIT_NOW_SESSIONS, roster_records(roster));
    SET(LIMIT_REJECTED_SESSIONS, records->full);
    SET(LIMIT_REJECTED_DEVICES, records->too_many);
    SET(LIMIT_NOW_UNACKNOWLEDGED, levels->most_unacknowledged);
    SET(LIMIT_REJECTED_UNACKNOWLEDGED, counts->full_lanes);
    SET(LIMIT_NOW_PENDING, levels->pending);
    SET(LIMIT_REJECTED_PENDING, counts->full_pending);
    SET(LIMIT_NOW_PENDING_BYTES, levels->bytes);
    SET(LIMIT_REJECTED_PENDING_BYTES, counts->full_bytes);
    SET(LIMIT_NOW_OUTCOMES, levels->outcomes);
    SET(LIMIT_REJECTED_OUTCOMES, counts->early_outcomes);
    SET(LIMIT_NOW_CONVERSATIONS, levels->convs);
    SET(LIMIT_REJECTED_CONVERSATIONS, counts->forgotten_early - counts->early_outcomes);
    SET(LIMIT_NOW_STORE_QUEUE, store->queued);
    SET(LIMIT_REJECTED_STORE_QUEUE, store->dropped);
    SET(LIMIT_REJECTED_CREDIT, counts->full_credit + sends->shed_credit);
    SET(LIMIT_NOW_EDGES, edges.up + edges.silent);
    SET(LIMIT_REJECTED_EDGES, records->strangers);
}
