/* Whole sessions: clients and shards that say messages which are nearly right, in any order, while
 * time passes, links come and go and clients leave. After each event both ledgers hold; in the end,
 * when all have gone, nothing is in flight and nothing is left.
 *
 * Covers: edge/session.c edge/login.c edge/sending.c edge/deliver.c edge/uplink.c edge/announce.c
 * edge/route.c edge/sites.c. Small world: yes. Longest input: 1024.
 */
#define RIG_CONNS 16u
#include "tests/script.h"
#include "tests/session_rig.h"

#define PLACES 4u

struct play {
    struct rig *rig;
    struct script script;
    struct conn_id ids[PLACES]; /* generation 0: not open */
    struct rig_frames left[PLACES];
    uint32_t epoch, numbers; /* of sessions given */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void open_place(struct play *play, uint32_t place)
{
    if (play->ids[place].generation != 0)
        return;
    play->left[place].begin = play->left[place].end = 0;
    play->ids[place] = rig_open(play->rig, place);
}

static void close_place(struct play *play, uint32_t place)
{
    if (play->ids[place].generation != 0)
        rig_close(play->rig, play->ids[place]);
    play->ids[place].generation = 0;
}

/* As the conn does: what was not used is offered again with what follows. */
static void client_says(struct play *play, uint32_t place, struct span bytes)
{
    struct rig_frames *left = &play->left[place];
    open_place(play, place);
    rig_keep(left, bytes);
    size_t len = left->end - left->begin;
    uint8_t *exact = malloc(len + (len == 0));
    assert(exact != NULL);
    if (len > 0)
        memcpy(exact, left->bytes + left->begin, len);
    size_t used = session_bytes(play->rig->table, play->ids[place], span_of(exact, len));
    assert(used <= len && len - used < FRAME_BODY_SIZE_MAX + FRAME_HEAD_SIZE_MAX);
    left->begin += used;
    free(exact);
}

static void client_frame(struct play *play, uint32_t place)
{
    size_t len;
    uint8_t *packed = script_packed(&play->script, &lahar__v1__client_frame__descriptor, &len);
    uint8_t head[FRAME_HEAD_SIZE_MAX];
    size_t heads = 0;
    for (size_t rest = len; heads == 0 || rest > 0; rest >>= 7)
        head[heads++] = (uint8_t)((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0));
    client_says(play, place, span_of(head, heads));
    client_says(play, place, span_of(packed, len));
    free(packed);
}

static void shard_frame(struct play *play, uint32_t shard)
{
    size_t len;
    uint8_t *packed = script_packed(&play->script, &lahar__link__v1__link_frame__descriptor, &len);
    session_link_frame(play->rig->table, shard, span_of(packed, len));
    free(packed);
}

/* A shard that does what it should: answers what it was asked. */
static void shard_answers(struct play *play, uint32_t shard)
{
    struct rig *rig = play->rig;
    Lahar__Link__V1__LinkFrame *asked;
    for (uint32_t i = 0; i < 8 && (asked = rig_told(rig, shard)) != NULL; i++) {
        script_hear(&play->script, &asked->base);
        Lahar__Link__V1__Resolved resolved = LAHAR__LINK__V1__RESOLVED__INIT;
        Lahar__Link__V1__Bound bound = LAHAR__LINK__V1__BOUND__INIT;
        Lahar__Link__V1__Answer answer = LAHAR__LINK__V1__ANSWER__INIT;
        switch (asked->frame_case) {
        case LAHAR__LINK__V1__LINK_FRAME__FRAME_EDGE_HELLO:
            rig_number(rig, shard, asked->edge_hello->number == 0 ? 7 : asked->edge_hello->number);
            rig_owned(rig, shard, 1, shard * (GID_SLOTS / RIG_SHARDS), GID_SLOTS / RIG_SHARDS,
                      play->epoch);
            break;
        case LAHAR__LINK__V1__LINK_FRAME__FRAME_RESOLVE:
            resolved.req = asked->resolve->req;
            resolved.gid = RIG_GID + asked->resolve->req % PLACES;
            RIG_ANSWER(rig, shard, resolved, RESOLVED, &resolved);
            break;
        case LAHAR__LINK__V1__LINK_FRAME__FRAME_BIND:
            bound.req = asked->bind->req;
            bound.gid = asked->bind->gid;
            bound.device = asked->bind->device;
            bound.session = rig_session(play->epoch, ++play->numbers);
            script_know(&play->script, bound.session);
            RIG_ANSWER(rig, shard, bound, BOUND, &bound);
            break;
        case LAHAR__LINK__V1__LINK_FRAME__FRAME_SEND:
            answer.gid = asked->send->from;
            answer.session = asked->send->session;
            answer.cmid = asked->send->cmid;
            answer.level = script_byte(&play->script) % 3;
            answer.reason = answer.level == 0 ? script_byte(&play->script) % 12 : 0;
            RIG_ANSWER(rig, shard, answer, ANSWER, &answer);
            break;
        default:
            break;
        }
        rig_drop(asked);
    }
}

static void login(struct play *play, uint32_t place)
{
    close_place(play, place);
    open_place(play, place);
    rig_hello(play->rig, play->ids[place], "phone");
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t shard = 0; shard < RIG_SHARDS; shard++)
            shard_answers(play, shard);
}

/* The next delivery for a session that is bound, in the slot's epoch. */
static void deliver(struct play *play, uint32_t place)
{
    struct session_table *table = play->rig->table;
    if (place >= table->places_used || session_at(table, place)->state != SESSION_BOUND)
        return;
    const struct session *s = session_at(table, place);
    uint64_t gid = s->gid, session = s->session, dseq = s->dseq_let + 1;
    rig_deliver(play->rig, gid, session, route_epoch(table->routes, gid_slot(gid)), dseq,
                script_byte(&play->script) & 1);
}

static void set_link(struct play *play, uint32_t shard, bool up)
{
    if (play->rig->table->uplinks[shard].up == up)
        return;
    if (up)
        session_link_up(play->rig->table, shard);
    else
        session_link_down(play->rig->table, shard);
}

static void other_event(struct play *play, uint8_t what, uint8_t which)
{
    static const char *const sites[] = {"game", "social", "x", ""};
    static const enum link_sent sents[] = {LINK_QUEUED, LINK_QUEUED, LINK_NO_CREDIT, LINK_AWAY};
    struct rig *rig = play->rig;
    switch (what) {
    case 0:
        rig->credited = sents[which % 4];
        rig->free = sents[which / 4 % 4];
        break;
    case 1:
        rig->verdict = (enum token_verdict)(which % TOKEN_VERDICTS);
        rig_claim(rig, sites[which / TOKEN_VERDICTS % 4], "ann", which & 0x80 ? "phone" : "");
        break;
    case 2:
        play->epoch++;
        break;
    case 3:
        if (which == 0xee)
            session_leave(rig->table);
        break;
    default:
        set_link(play, which % RIG_SHARDS, which & 0x80);
    }
}

static void step(struct play *play)
{
    uint8_t what = script_byte(&play->script), which = what >> 4;
    uint32_t place = which % PLACES;
    switch (what & 15) {
    case 0:
    case 1:
    case 2:
        client_frame(play, place);
        break;
    case 3:
        client_says(play, place, script_bytes(&play->script, script_byte(&play->script)));
        break;
    case 4:
        close_place(play, place);
        break;
    case 5:
        login(play, place);
        break;
    case 6:
    case 7:
    case 8:
        shard_frame(play, place);
        break;
    case 9:
    case 10:
        shard_answers(play, place);
        break;
    case 11:
        deliver(play, place);
        break;
    case 12:
        rig_pass_quickly(play->rig, UINT64_C(1) << which);
        break;
    case 13:
        set_link(play, place, true);
        break;
    default:
        other_event(play, which % 6, script_byte(&play->script));
    }
}

/* Who was closed by the table leaves; those that were told something may forget it. */
static void settle(struct play *play)
{
    struct rig *rig = play->rig;
    assert(rig_ledgers_hold(rig));
    for (uint32_t place = 0; place < PLACES; place++) {
        if (play->ids[place].generation != 0 && rig->closed[place] != END_NONE)
            close_place(play, place);
        rig->to_client[place].begin = rig->to_client[place].end = 0;
    }
    assert(rig_ledgers_hold(rig));
}

static void end(struct play *play)
{
    struct rig *rig = play->rig;
    for (uint32_t place = 0; place < PLACES; place++)
        close_place(play, place);
    assert(rig_ledgers_hold(rig));
    const struct session_table *table = rig->table;
    assert(table->opened == 0 && table->bound == 0 && session_count(table) == 0);
    assert(table->by_session.count == 0 && table->sendings.in_use == 0);
    for (uint32_t shard = 0; shard <= RIG_SHARDS; shard++)
        assert(table->uplinks[shard].count == 0 && table->uplinks[shard].mix == 0);
    for (uint32_t place = 0; place < PLACES; place++)
        free(play->left[place].bytes);
    rig_free(rig);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct session_options options = rig_options();
    struct play play = {.script = {.rest = span_of(data, size)}, .epoch = 1};
    options.conns_max = PLACES;
    options.sends_in_flight = 4;
    options.sends_per_s = 20;
    options.sends_burst = 60;
    play.rig = rig_new(&options);
    for (uint32_t place = 0; place < PLACES; place++)
        script_know(&play.script, RIG_GID + place);
    script_know(&play.script, gid_device_hash(span_text("phone")));
    for (const char *const *text = (const char *const[]){"0123456789abcdef", "phone", "game",
                                                         "a.b.c", "r1/0", "r2/1", NULL};
         *text != NULL; text++)
        script_know_text(&play.script, span_text(*text));
    if ((script_byte(&play.script) & 1) == 0)
        rig_cluster(play.rig, play.epoch);
    while (!script_ended(&play.script)) {
        step(&play);
        settle(&play);
    }
    end(&play);
    return 0;
}
