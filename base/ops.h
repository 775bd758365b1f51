/* ops: what operators and orchestrators ask of a daemon, on a thread and a listener of its own.
 *
 *     GET /metrics   Prometheus text          GET /healthz   200 while the loops turn, else 503
 *     GET /version   JSON                     GET /readyz    200, or 503 and why not, one line each
 *
 * Each worker reports in an ops_worker: it stamps a beat each second and says whether it is ready.
 * HTTP/1.1, one request a connection; at most 16 at once, 4 KiB and 5 s each. When all are taken, a
 * newcomer replaces the oldest that is not being answered, so that silent peers cannot keep an
 * orchestrator from seeing that we are well.
 */
#ifndef BASE_OPS_H
#define BASE_OPS_H

#include "base/metrics.h"

struct ops;
struct ops_worker;

/* "127.0.0.1:9100" or "[::1]:9100"; dies with what to change if it cannot be bound. Starts the
 * thread. All that is passed in but the address must outlive it. */
struct ops *ops_new(const char *address, const struct metrics_registry *registry,
                    const char *program, const char *version);
void ops_free(struct ops *ops);
/* The port it listens on: the kernel's choice if the address said 0. */
uint16_t ops_port(const struct ops *ops);

/* Only before the worker's thread runs. `name` must outlive ops. Not ready until it says so. */
struct ops_worker *ops_worker(struct ops *ops, const char *name);
/* From the worker's thread, each second, with its loop's time. A worker silent for 5 s makes
 * /healthz fail. */
void ops_beat(struct ops_worker *worker, uint64_t now_ms);
/* Ready: `why_not` NULL; else a literal that says what it waits for. */
void ops_ready(struct ops_worker *worker, const char *why_not);
/* From any thread: the daemon is leaving, /readyz fails from now on. */
void ops_leaving(struct ops *ops);

#endif
