/* loop: the turns of one thread.
 *
 *     wait -> dispatch what is ready -> run what is due -> turn ends (flush) -> wait ...
 *
 * A source is a kind of descriptor (all client sockets, one listener, one ZeroMQ socket): one
 * handler and its context, registered once. Each watched descriptor carries a key of 48 bits of the
 * owner's choice (for a conn: slot and generation), so that the loop itself keeps nothing per
 * descriptor and an event for something that has died meanwhile is recognised as stale by its key.
 *
 * All calls belong to the loop's own thread but loop_stop and loop_wake, which any thread and a
 * signal handler may call.
 */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include "base/span.h"

struct loop;

#define LOOP_SOURCES_MAX 1024u
#define LOOP_TICKERS_MAX 32u
#define LOOP_ENDERS_MAX 16u

/* `events` are those of epoll(7). */
typedef void loop_ready_fn(void *ctx, uint64_t key, uint32_t events);
typedef void loop_fn(void *ctx);

/* Dies (log_die) when the kernel refuses an epoll or event descriptor. */
struct loop *loop_new(void);
void loop_free(struct loop *loop);

/* Registers a handler; there is no way back, sources live as long as the loop. */
uint32_t loop_source(struct loop *loop, loop_ready_fn *on_ready, void *ctx);

/* False when the kernel has no room for one more watch (ENOSPC, ENOMEM). */
MUST_CHECK bool loop_watch(struct loop *loop, int fd, uint32_t source, uint64_t key,
                           uint32_t events);
void loop_rewatch(struct loop *loop, int fd, uint32_t source, uint64_t key, uint32_t events);
void loop_unwatch(struct loop *loop, int fd);

/* Calls `fn` about every `period_ms`, after what was ready has been dispatched. After a pause of
 * the whole process it is called once, not once for each period missed. */
void loop_every(struct loop *loop, uint32_t period_ms, loop_fn *fn, void *ctx);

/* Calls `fn` at the end of each turn, in the order of registration. */
void loop_at_turn_end(struct loop *loop, loop_fn *fn, void *ctx);

/* The next wait returns at once: somebody left work over to be fair to the others. */
void loop_again(struct loop *loop);

/* CLOCK_BOOTTIME as of the start of this turn. */
uint64_t loop_now_ms(const struct loop *loop);
uint64_t loop_now_us(const struct loop *loop);
/* How long this turn takes by now. */
uint64_t loop_spent_us(const struct loop *loop);

/* Runs turns until loop_stop; the turn in which it is seen is finished first. */
void loop_run(struct loop *loop);
/* Runs one turn, waiting at most `wait_ms` (-1: until the next ticker is due). For tests, and for
 * programs whose main loop is somebody else's. */
void loop_turn(struct loop *loop, int wait_ms);
void loop_stop(struct loop *loop);
void loop_wake(struct loop *loop);

/* A descriptor that polls readable when a turn has something to do, and the time in ms until the
 * next ticker is due: for being embedded in another loop. */
int loop_fd(const struct loop *loop);
int loop_wait_ms(const struct loop *loop);

#endif
