/* traffic_table: what a generator process knows, for traffic.c and writing.c alone. */
#ifndef BENCH_TRAFFIC_TABLE_H
#define BENCH_TRAFFIC_TABLE_H

#include "bench/agenda.h"
#include "bench/book.h"
#include "bench/crowd.h"
#include "bench/dice.h"
#include "bench/judge.h"
#include "bench/pace.h"

#define NS_PER_S UINT64_C(1000000000)
#define NS_PER_MS UINT64_C(1000000)
#define AWAY_NS (100 * NS_PER_MS)
#define TRIES 64u

enum traffic_manner { MANNER_WRITES, MANNER_HOLDS, MANNER_COMES_AND_GOES };

struct traffic {
    struct member *member;
    const struct options *options;
    struct crowd *crowd;
    struct book *book;
    struct judge judge;
    struct referee_counts *counts;
    struct agenda thinking; /* users' places in the closed loop that are free until then */
    struct agenda again;    /* slots to be sent again: BUSY, SEQ_GAP */
    enum traffic_manner manner;
    enum team_phase phase;
    bool open_loop, writing, logged_in;
    struct dice dice;
    struct pace pace; /* open loop */
    uint64_t run, seq, gone_number;
    uint64_t swept_ns;
    double sweep_rest;
    uint8_t body[FRAME_PAYLOAD_SIZE_MAX];
};

static inline bool traffic_is_ephemeral(const struct traffic *traffic)
{
    return traffic->options->message_class == HOT_EPHEMERAL;
}

#endif
