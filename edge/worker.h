/* worker: one thread of an edge: its loop, its conns, its links and its sessions, put together. To
 * a router each worker is an edge of its own.
 *
 *     worker_new --> worker_start --> (worker_leave) --> worker_done --> worker_free
 *
 * All calls are the main thread's; what concerns the worker's thread is left in flags, which it
 * sees within 100 ms.
 */
#ifndef EDGE_WORKER_H
#define EDGE_WORKER_H

#include "base/conf.h"
#include "base/ops.h"
#include "edge/certs.h"
#include "proto/link.h"

struct worker;

struct worker_options {
    const struct conf *conf; /* checked */
    const char *name;        /* "e1/0" */
    struct metrics *metrics;
    struct ops_worker *ops;
    struct certs *certs; /* for tls listeners; the worker holds them; NULL: none */
};

/* What the options point at must outlive the worker. Dies if it cannot listen. */
struct worker *worker_new(struct link_net *net, const struct worker_options *options);
/* The port of the n-th entry of `listen`. */
uint16_t worker_port(const struct worker *worker, uint32_t n);
/* Begins the thread. */
void worker_start(struct worker *worker);
/* Other certificates, for handshakes to come; the worker holds them. */
void worker_set_certs(struct worker *worker, struct certs *certs);
/* Accepts nobody new, sends everybody away over drain_ms, ends. */
void worker_leave(struct worker *worker);
/* Its thread has ended, or is about to. */
bool worker_done(const struct worker *worker);
/* Waits for the end of its thread, if it was started, and frees. */
void worker_free(struct worker *worker);

#endif
