/* line: client connections: two streams of bytes that keep their order and arrive in any pieces,
 * until one end closes or the connection breaks; it may also vanish, so that neither end knows. */
#include "tests/sim/world.h"

#define CONNECT_MS 20u
#define AT_EDGE_BYTES_MAX (256u * 1024u) /* limits.out_bytes */

static struct line *line_of(struct world *world, const struct phone *phone)
{
    return phone->line == NONE ? NULL : &world->lines[phone->line];
}

static void release(struct line *line)
{
    if (line->phone_open || line->edge_open || line->opening)
        return;
    pipe_clear(&line->to_edge);
    pipe_clear(&line->to_phone);
    buf_free(&line->at_edge);
    buf_free(&line->at_phone);
    line->used = false;
}

/* In one or two pieces. */
static void push(struct world *world, struct line *line, struct pipe *pipe, struct span bytes)
{
    if (line->vanished)
        return;
    size_t first =
        bytes.len > 1 && world_any(world, 4) == 0 ? 1 + world_any(world, bytes.len - 1) : bytes.len;
    pipe_push(pipe, span_upto(bytes, first), world_arrival(world));
    if (first < bytes.len)
        pipe_push(pipe, span_after(bytes, first), world_arrival(world));
}

/* ---- opening ---- */

void line_open(struct world *world, struct phone *phone)
{
    uint32_t index = 0;
    while (index < WORLD_LINES && world->lines[index].used)
        index++;
    assert(index < WORLD_LINES && phone->line == NONE);
    world->lines[index] =
        (struct line){.used = true,
                      .opening = true,
                      .phone_open = true,
                      .phone = phone->index,
                      .edge = (uint32_t)world_any(world, WORLD_EDGES),
                      .generation = ++world->generation,
                      .opens_ms = world->now_ms + 1 + world_any(world, CONNECT_MS)};
    phone->line = index;
}

static void open_now(struct world *world, struct line *line)
{
    struct phone *phone = &world->phones[line->phone];
    struct edge_host *edge = &world->edges[line->edge];
    line->opening = false;
    if (!line->phone_open) {
        release(line);
    } else if (!edge->host.running || edge->leaving) {
        line->phone_open = false;
        phone->line = NONE;
        release(line);
        core_lost(phone->core, "connect", "nobody listens there", world->now_ms);
    } else {
        uint32_t slot = (uint32_t)(line - world->lines);
        line->edge_open = true;
        session_opened(edge->table, (struct conn_id){slot, line->generation},
                       &(struct conn_from){0});
        core_opened(phone->core, world->now_ms);
    }
}

/* ---- what the ends do ---- */

void line_phone_sends(struct world *world, struct phone *phone, struct span bytes)
{
    struct line *line = line_of(world, phone);
    if (line != NULL && line->phone_open)
        push(world, line, &line->to_edge, bytes);
}

/* An orderly end: what was sent before still arrives. */
void line_phone_closes(struct world *world, struct phone *phone)
{
    struct line *line = line_of(world, phone);
    if (line == NULL)
        return;
    phone->line = NONE;
    line->phone_open = false;
    if (line->edge_open && !line->vanished)
        pipe_push(&line->to_edge, (struct span){0}, world_arrival(world));
}

static struct line *line_of_conn(struct world *world, uint32_t edge, struct conn_id id)
{
    struct line *line = &world->lines[id.slot];
    bool same = line->used && line->edge == edge && line->generation == id.generation;
    return same && line->edge_open && line->edge_closes == END_NONE ? line : NULL;
}

void line_edge_sends(struct world *world, uint32_t edge, struct conn_id id, struct span bytes)
{
    struct line *line = line_of_conn(world, edge, id);
    if (line == NULL)
        return;
    if (line->to_phone.bytes + bytes.len > AT_EDGE_BYTES_MAX)
        line->edge_closes = END_SLOW_READER;
    else if (line->phone_open)
        push(world, line, &line->to_phone, bytes);
}

void line_edge_closes(struct world *world, uint32_t edge, struct conn_id id, enum end_reason reason)
{
    struct line *line = line_of_conn(world, edge, id);
    if (line != NULL)
        line->edge_closes = reason;
}

static void close_edge(struct world *world, struct line *line, enum end_reason reason)
{
    struct conn_id id = {(uint32_t)(line - world->lines), line->generation};
    if (line->phone_open && !line->vanished)
        pipe_push(&line->to_phone, (struct span){0}, world_arrival(world));
    session_closed(world->edges[line->edge].table, id, reason);
    line->edge_open = false;
    release(line);
}

static void close_phone(struct world *world, struct line *line)
{
    struct phone *phone = &world->phones[line->phone];
    line->phone_open = false;
    phone->line = NONE;
    core_lost(phone->core, "closed", "the connection was closed", world->now_ms);
    release(line);
}

void line_break(struct world *world, struct line *line)
{
    pipe_clear(&line->to_edge);
    pipe_clear(&line->to_phone);
    if (line->edge_open)
        pipe_push(&line->to_edge, (struct span){0}, world_arrival(world));
    if (line->phone_open)
        pipe_push(&line->to_phone, (struct span){0}, world_arrival(world));
}

void line_edge_gone(struct world *world, uint32_t edge)
{
    for (struct line *line = world->lines; line < world->lines + WORLD_LINES; line++) {
        if (!line->used || line->edge != edge || !line->edge_open)
            continue;
        line->edge_open = false;
        line->edge_closes = END_NONE;
        pipe_clear(&line->to_edge);
        if (line->phone_open)
            pipe_push(&line->to_phone, (struct span){0}, world_arrival(world));
        release(line);
    }
}

void line_turn_end(struct world *world)
{
    for (struct line *line = world->lines; line < world->lines + WORLD_LINES; line++)
        if (line->used && line->edge_open && line->edge_closes != END_NONE)
            close_edge(world, line, line->edge_closes);
}

/* ---- what arrives ---- */

static void read_at_edge(struct world *world, struct line *line)
{
    struct packet *packet;
    while (line->used && line->edge_open && line->edge_closes == END_NONE &&
           (packet = pipe_take(&line->to_edge, world->now_ms)) != NULL) {
        if (packet->len == 0) {
            line->edge_closes = END_PEER_LEFT;
        } else {
            struct conn_id id = {(uint32_t)(line - world->lines), line->generation};
            buf_append(&line->at_edge, span_of(packet->bytes, packet->len));
            size_t used =
                session_bytes(world->edges[line->edge].table, id, buf_span(&line->at_edge));
            buf_consume(&line->at_edge, used, 0);
        }
        free(packet);
    }
}

static void read_at_phone(struct world *world, struct line *line)
{
    struct packet *packet;
    while (line->used && line->phone_open && !line->opening &&
           (packet = pipe_take(&line->to_phone, world->now_ms)) != NULL) {
        if (packet->len == 0) {
            close_phone(world, line);
        } else {
            struct phone *phone = &world->phones[line->phone];
            buf_append(&line->at_phone, span_of(packet->bytes, packet->len));
            size_t used = core_bytes(phone->core, buf_span(&line->at_phone), world->now_ms);
            buf_consume(&line->at_phone, used, 0);
        }
        free(packet);
    }
}

void line_read(struct world *world)
{
    for (struct line *line = world->lines; line < world->lines + WORLD_LINES; line++) {
        if (!line->used)
            continue;
        const struct phone *phone = &world->phones[line->phone];
        if (line->opening && line->opens_ms <= world->now_ms)
            open_now(world, line);
        if (line->used && line->edge_open && host_awake(world, &world->edges[line->edge].host))
            read_at_edge(world, line);
        if (line->used && phone->asleep_ms <= world->now_ms)
            read_at_phone(world, line);
    }
}

void line_free(struct world *world)
{
    for (struct line *line = world->lines; line < world->lines + WORLD_LINES; line++) {
        line->phone_open = line->edge_open = line->opening = false;
        release(line);
    }
}
