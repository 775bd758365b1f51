/* relay: the floor: the least that a server of one process does to bring frames from one socket to
 * another.
 *
 *     frame = length (varint), address (8 bytes, little-endian), body
 *
 * The first frame of a connection is a hello: its address is the client's own number, at most
 * RELAY_NUMBER_MAX, its body is empty; it comes back as the welcome. Of every later one the address
 * is the recipient's number; the recipient gets it with the sender's. One read for each ready
 * socket and one write for each touched one a turn. No authentication, no answer; what is for
 * nobody is dropped.
 */
#ifndef BENCH_RELAY_H
#define BENCH_RELAY_H

#include "base/span.h"

#define RELAY_NUMBER_MAX (1u << 22)

/* Serves on HOST:PORT until it is killed; prints "ready PORT" once it listens. Dies if it cannot.
 */
__attribute__((noreturn)) void relay_run(const char *listen);

#endif
