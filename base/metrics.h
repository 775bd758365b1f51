/* metrics: numbers for operators, from one table a program, in Prometheus text format 0.0.4.
 *
 * A registry has one row of values per worker. A value is written by its worker's thread only, with
 * relaxed atomics, and read by the ops thread. Rows of one metric name stand together in the table.
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include "base/span.h"

#include <stdatomic.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE };

struct metric {
    const char *name;   /* "lahar_edge_sends_ended_total" */
    const char *labels; /* "end=\"nacked\",reason=\"busy\"", or "" */
    enum metric_kind kind;
    const char *help;
};

struct metrics_registry;

/* One worker's values, indexed as the table. */
struct metrics {
    _Atomic uint64_t *values;
};

struct metrics_registry *metrics_registry_new(const struct metric *table, size_t count);
void metrics_registry_free(struct metrics_registry *registry);
/* Only before the threads run. `worker` becomes a label and must outlive the registry. */
struct metrics *metrics_registry_worker(struct metrics_registry *registry, const char *worker);

static inline void metrics_add(struct metrics *metrics, size_t id, uint64_t n)
{
    uint64_t old = atomic_load_explicit(&metrics->values[id], memory_order_relaxed);
    atomic_store_explicit(&metrics->values[id], old + n, memory_order_relaxed);
}

static inline void metrics_set(struct metrics *metrics, size_t id, uint64_t value)
{
    atomic_store_explicit(&metrics->values[id], value, memory_order_relaxed);
}

static inline uint64_t metrics_get(const struct metrics *metrics, size_t id)
{
    return atomic_load_explicit(&metrics->values[id], memory_order_relaxed);
}

/* The whole page, malloc'ed, its length in `len`. Adds process_* (cpu, resident, open fds, start
 * time). */
char *metrics_registry_render(const struct metrics_registry *registry, size_t *len);

#endif
