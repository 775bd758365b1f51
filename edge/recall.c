#include "edge/session_table.h"

#include "base/log.h"

#include <stdlib.h>

/* In one tick. A million sessions are through in 2 s; but not so many clients are told at once that
 * the others notice. */
#define LOOKED_AT_MAX 50000u
#define ENDED_MAX 10000u
#define SITES_TOLD_MAX 16u

struct taken_back {
    uint32_t site;
    uint64_t not_before, ended;
};

struct recall {
    uint32_t cursor, left; /* places to look at yet */
    uint32_t count;
    struct taken_back sites[SITES_TOLD_MAX]; /* which shards are told of in the end */
};

struct recall *recall_new(void)
{
    struct recall *recall = calloc(1, sizeof *recall);
    assert(recall != NULL);
    return recall;
}

void recall_free(struct recall *recall)
{
    free(recall);
}

static struct taken_back *find(struct recall *recall, uint32_t index)
{
    for (uint32_t i = 0; i < recall->count; i++)
        if (recall->sites[i].site == index)
            return &recall->sites[i];
    return NULL;
}

static void begin(struct session_table *table, const struct site *site)
{
    struct recall *recall = table->recall;
    struct taken_back *known = find(recall, site->index);
    if (known == NULL && recall->count < SITES_TOLD_MAX) {
        known = &recall->sites[recall->count++];
        *known = (struct taken_back){.site = site->index};
    }
    if (known != NULL)
        known->not_before = site->not_before;
    recall->left = table->places_used;
}

bool recall_take_site(struct session_table *table, const Lahar__Link__V1__Site *said)
{
    struct span id = unpack_span(said->id);
    const struct site *site = sites_find(table->sites, id);
    uint64_t before = site == NULL ? 0 : site->revision;
    if (!sites_put(table->sites, said))
        return false;
    quota_site(table, id);
    site = sites_find(table->sites, id);
    /* Every shard pushes it, and again to an edge that was away. */
    if (site != NULL && site->not_before != 0 && site->revision > before)
        begin(table, site);
    return true;
}

/* True if it was one that its site has taken back. */
static bool judge(struct session_table *table, struct session *s)
{
    bool admitted =
        s->state == SESSION_BOUND || s->state == SESSION_BINDING || s->state == SESSION_RESOLVING;
    if (!admitted)
        return false;
    const struct site *site = sites_at(table->sites, s->site);
    if (site == NULL || s->issued_at >= site->not_before)
        return false;
    struct taken_back *known = find(table->recall, s->site);
    if (known != NULL && s->state == SESSION_BOUND)
        known->ended++;
    session_count_one(table, EDGE_METRIC_RECALLED);
    session_end(table, s, END_KICKED, true);
    return true;
}

static void tell(struct session_table *table, const struct taken_back *known)
{
    const struct site *site = sites_at(table->sites, known->site);
    if (site == NULL)
        return;
    Lahar__Link__V1__SiteKicked kicked = LAHAR__LINK__V1__SITE_KICKED__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    kicked.id = unpack_data(span_of(site->id, site->id_len));
    kicked.not_before = known->not_before;
    kicked.count = known->ended;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_KICKED;
    frame.site_kicked = &kicked;
    if (known->ended > 0)
        log_info("site_recalled", LOG_SPAN("site", span_of(site->id, site->id_len)),
                 LOG_UNSIGNED("sessions", known->ended));
    for (uint32_t shard = 0; shard < table->options.shards; shard++)
        (void)uplink_say(table, shard, &frame);
}

void recall_tick(struct session_table *table)
{
    struct recall *recall = table->recall;
    uint32_t ended = 0;
    for (uint32_t looked = 0; recall->left > 0; looked++) {
        if (looked == LOOKED_AT_MAX || ended == ENDED_MAX)
            return;
        if (recall->cursor >= table->places_used)
            recall->cursor = 0;
        ended += judge(table, session_at(table, recall->cursor++));
        recall->left--;
    }
    for (uint32_t i = 0; i < recall->count; i++)
        tell(table, &recall->sites[i]);
    recall->count = 0;
}
