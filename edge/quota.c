#include "edge/session_table.h"

static struct share_amounts limits_of(const struct site *site)
{
    if (site == NULL)
        return (struct share_amounts){{0}};
    return (struct share_amounts){{site->sends_per_s, site->logins_per_s, site->connections}};
}

void quota_site(struct session_table *table, struct span id)
{
    const struct site *site = sites_find(table->sites, id);
    struct share_amounts limits = limits_of(site);
    if (site != NULL)
        share_limit(table->shares, site->index, &limits, table->now_ms);
}

bool quota_enter(struct session_table *table, struct session *s, const struct site *site)
{
    assert(s->site == 0);
    enum limit limit = share_login(table->shares, site->index, table->now_ms);
    if (limit != LIMIT_NONE) {
        limits_refused(table->limits, limit);
        session_end(table, s, limits_end(limit), true);
        return false;
    }
    s->site = site->index;
    return true;
}

void quota_leave(struct session_table *table, struct session *s)
{
    if (s->site != 0)
        share_leave(table->shares, s->site);
    s->site = 0;
}

uint32_t quota_send(struct session_table *table, const struct session *s)
{
    if (s->site == 0)
        return 0;
    uint32_t wait_ms = share_send(table->shares, s->site, table->now_ms);
    if (wait_ms != 0)
        limits_refused(table->limits, LIMIT_SITE_SENDS);
    return wait_ms;
}

/* --- with the shard that shares them out ------------------------------------------------------ */

void quota_share(struct session_table *table, struct span content)
{
    const Lahar__Link__V1__SiteShare *said =
        unpack_message(&lahar__link__v1__site_share__descriptor, table->arena, content);
    if (said == NULL) {
        session_count_one(table, EDGE_METRIC_LINK_BAD);
        return;
    }
    const struct site *site = sites_find(table->sites, unpack_span(said->id));
    if (site == NULL)
        return; /* it has gone meanwhile */
    struct share_amounts share = {{0}};
    if (said->share != NULL)
        share = (struct share_amounts){
            {said->share->sends_per_s, said->share->logins_per_s, said->share->connections}};
    share_told(table->shares, site->index, &share, said->edges, table->now_ms);
}

static void pack(Lahar__Link__V1__SiteLimits *to, const struct share_amounts *from)
{
    lahar__link__v1__site_limits__init(to);
    to->sends_per_s = from->of[SHARE_SENDS];
    to->logins_per_s = from->of[SHARE_LOGINS];
    to->connections = from->of[SHARE_CONNECTIONS];
}

static void say_use(struct session_table *table, const struct site *site,
                    const struct share_use *use)
{
    Lahar__Link__V1__SiteUse said = LAHAR__LINK__V1__SITE_USE__INIT;
    Lahar__Link__V1__LinkFrame frame = LAHAR__LINK__V1__LINK_FRAME__INIT;
    Lahar__Link__V1__SiteLimits held, wanted;
    struct span id = span_of(site->id, site->id_len);
    pack(&held, &use->held);
    pack(&wanted, &use->wanted);
    said.id = unpack_data(id);
    said.held = &held;
    said.wanted = &wanted;
    said.connections = use->connections;
    frame.frame_case = LAHAR__LINK__V1__LINK_FRAME__FRAME_SITE_USE;
    frame.site_use = &said;
    (void)uplink_say(table, uplink_of(table, gid_site_slot(id)), &frame);
}

void quota_turn(struct session_table *table)
{
    struct share_use use;
    while (share_ask(table->shares, table->now_ms, &use)) {
        const struct site *site = sites_at(table->sites, use.site);
        if (site != NULL)
            say_use(table, site, &use);
    }
}

static void show(struct session_table *table)
{
    static const enum limit limits[] = {[SHARE_SENDS] = LIMIT_SITE_SENDS,
                                        [SHARE_LOGINS] = LIMIT_SITE_LOGINS,
                                        [SHARE_CONNECTIONS] = LIMIT_SITE_CONNECTIONS};
    struct share_amounts used, held;
    share_fullest(table->shares, &used, &held);
    for (size_t kind = 0; kind < SHARE_KINDS; kind++) {
        metrics_set(table->metrics, EDGE_METRIC_LIMIT_NOW(limits[kind]), used.of[kind]);
        metrics_set(table->metrics, EDGE_METRIC_LIMIT(limits[kind]), held.of[kind]);
    }
}

void quota_second(struct session_table *table)
{
    uint32_t cursor = 0;
    struct share_use use;
    while (share_next(table->shares, &cursor, table->now_ms, &use)) {
        const struct site *site = sites_at(table->sites, use.site);
        if (site != NULL)
            say_use(table, site, &use);
    }
    show(table);
}
