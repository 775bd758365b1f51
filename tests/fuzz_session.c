/* Chunks of bytes from two clients, one of them bound, and frames from a shard, in any order:
 * nothing is read that is not there, what is left over is less than a frame, and both ledgers hold
 * after each chunk.
 *
 * The input: a byte that says whose chunk (or how much time passes), a byte of length, the chunk.
 *
 * Covers: edge/session.c edge/sending.c edge/deliver.c. Small world: yes. Longest input: 256.
 */
#define RIG_CONNS 16u
#include "tests/session_rig.h"

#define PASSES_MAX 16u /* a second's work is more than a chunk's */
#define LEFT_OVER_MAX (FRAME_BODY_SIZE_MAX + FRAME_HEAD_SIZE_MAX)

enum { UNBOUND, BOUND, FROM_SHARD, TIME, WHOSE };

struct client {
    struct conn_id id;
    struct rig_frames left_over;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void reopen(struct rig *rig, struct client *client, uint32_t place)
{
    client->left_over.begin = client->left_over.end = 0;
    client->id = rig_open(rig, place);
    if (place != BOUND)
        return;
    /* What came from the shard may have changed owners and epochs, or left nobody to ask. */
    uint32_t epoch = route_epoch(rig->table->routes, gid_slot(RIG_GID));
    rig_hello(rig, client->id, "phone");
    rig_resolved(rig, client->id, LAHAR__LINK__V1__RESOLVED__STATUS__OK, RIG_GID);
    rig_bound(rig, client->id, LAHAR__LINK__V1__BOUND__STATUS__OK, RIG_GID, "phone",
              rig_session(epoch, client->id.generation));
}

static void client_says(struct rig *rig, struct client *client, struct span chunk)
{
    struct rig_frames *left = &client->left_over;
    rig_keep(left, chunk);
    /* Of exactly its size, so that a read past the end is seen. */
    size_t len = left->end - left->begin;
    uint8_t *bytes = malloc(len + 1);
    assert(bytes != NULL);
    if (len > 0)
        memcpy(bytes, left->bytes + left->begin, len);
    size_t used = session_bytes(rig->table, client->id, span_of(bytes, len));
    assert(used <= len && len - used < LEFT_OVER_MAX);
    left->begin += used;
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rig *rig = rig_new(NULL);
    struct client clients[2] = {0};
    uint32_t passes = 0;
    rig_cluster(rig, 1);
    reopen(rig, &clients[UNBOUND], UNBOUND);
    reopen(rig, &clients[BOUND], BOUND);
    while (size >= 2) {
        uint32_t whose = data[0] % WHOSE;
        size_t len = data[1] < size - 2 ? data[1] : size - 2;
        struct span chunk = span_of(data + 2, len);
        if (whose == FROM_SHARD)
            session_link_frame(rig->table, 0, chunk);
        else if (whose == TIME && passes++ < PASSES_MAX)
            rig_pass_quickly(rig, data[1] * UINT64_C(100));
        else if (whose != TIME)
            client_says(rig, &clients[whose], chunk);
        assert(rig_ledgers_hold(rig));
        for (uint32_t place = 0; place < 2; place++) {
            if (rig->closed[place] == END_NONE)
                continue;
            rig_close(rig, clients[place].id);
            reopen(rig, &clients[place], place);
        }
        data += 2 + (whose == TIME ? 0 : len);
        size -= 2 + (whose == TIME ? 0 : len);
    }
    assert(rig_ledgers_hold(rig));
    free(clients[0].left_over.bytes);
    free(clients[1].left_over.bytes);
    rig_free(rig);
    return 0;
}
