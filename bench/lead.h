/* lead: the parent's part of a run, step by step. It moves the phases on, looks after the members,
 * samples cost at the edges, shows what happens on a terminal, and fills the report.
 *
 *     if (lead_login(lead) && lead_warm_up(lead) && lead_measure(lead))
 *         lead_drain(lead);
 *
 * Each step returns false when the run cannot go on: the reason was said on stderr, and the
 * workload returns lead_end(), which is right in any case.
 */
#ifndef BENCH_LEAD_H
#define BENCH_LEAD_H

#include "bench/report.h"
#include "bench/team.h"
#include "bench/workload.h"

struct lead;

const struct options *lead_options(const struct lead *lead);
struct report *lead_report(struct lead *lead);
struct team *lead_team(struct lead *lead); /* NULL if the workload has no members */

/* All users in; the report's logins, and the memory before and after. */
MUST_CHECK bool lead_login(struct lead *lead);
/* --warmup seconds. */
MUST_CHECK bool lead_warm_up(struct lead *lead);
/* --seconds, with everything that the report has of that time. */
MUST_CHECK bool lead_measure(struct lead *lead);
/* Until nothing is on its way any more; the report's whole counts. */
bool lead_drain(struct lead *lead);
/* After that: each leaves and logs in again, once, in --login-timeout seconds. */
MUST_CHECK bool lead_again(struct lead *lead, struct report_span *span);

/* For workloads with several windows: opens the next one at this rate (0: closed loop; the one
 * before it is closed), waits so long, closes it. What is due between windows is sent too, at the
 * rate set last. */
MUST_CHECK bool lead_window(struct lead *lead, double rate, double seconds,
                            struct report_span *span);
/* Sets the rate and lets so much time pass without a window. */
MUST_CHECK bool lead_pass(struct lead *lead, double rate, double seconds);
/* The latencies of the window that was closed last, but of messages still on their way. */
void lead_latency(const struct lead *lead, struct hist *into);

uint64_t lead_now_ns(void);
/* Verdict over the counts of the report, if it came to its end. */
enum workload_end lead_end(const struct lead *lead);
/* A run with its members and report, from beginning to end: workload_run. */
enum workload_end lead_run(const struct workload *workload, const struct options *options);

#endif
