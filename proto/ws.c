#include "proto/ws.h"

#define HEAD_START 2u /* what is always there */
#define MASK_SIZE 4u
#define FIN 0x80u
#define RESERVED_BITS 0x70u
#define OPCODE 0x0fu
#define MASKED 0x80u
#define LENGTH 0x7fu
#define LENGTH_16 126u
#define LENGTH_64 127u
#define CODE_SIZE 2u

static_assert(sizeof(struct ws_reader) <= 16, "one in each connection");
static_assert(WS_CONTROL_PAYLOAD_MAX < LENGTH_16, "a control frame has the short head");

struct head {
    enum ws_opcode opcode;
    bool last;
    uint64_t len;
    size_t size; /* of the head */
};

void ws_reader_init(struct ws_reader *reader, enum ws_side side)
{
    *reader = (struct ws_reader){.side = (uint8_t)side};
}

bool ws_between_messages(const struct ws_reader *reader)
{
    return reader->left == 0 && !reader->in_message;
}

/* ---- masks ---- */

/* The mask as it is `bytes` further on. */
static uint32_t turned(uint32_t mask, size_t bytes)
{
    uint8_t from[MASK_SIZE], to[MASK_SIZE];
    memcpy(from, &mask, sizeof from);
    for (size_t i = 0; i < MASK_SIZE; i++)
        to[i] = from[(i + bytes) % MASK_SIZE];
    memcpy(&mask, to, sizeof mask);
    return mask;
}

static void apply_mask(uint8_t *at, size_t len, uint32_t mask)
{
    uint64_t word, twice = (uint64_t)mask << 32 | mask;
    while (len >= sizeof word) {
        memcpy(&word, at, sizeof word);
        word ^= twice;
        memcpy(at, &word, sizeof word);
        at += sizeof word;
        len -= sizeof word;
    }
    uint8_t rest[sizeof twice];
    memcpy(rest, &twice, sizeof rest);
    for (size_t i = 0; i < len; i++)
        at[i] ^= rest[i];
}

void ws_mask(uint8_t *bytes, size_t len, const uint8_t mask[4])
{
    uint32_t word;
    memcpy(&word, mask, sizeof word);
    apply_mask(bytes, len, word);
}

/* ---- heads ---- */

/* Each returns WS_PIECE if all is well so far. */

static enum ws_event fault(struct ws_item *item, enum ws_code code, const char *why)
{
    item->code = (uint16_t)code;
    item->why = why;
    return WS_ERROR;
}

static bool is_control(enum ws_opcode opcode)
{
    return opcode >= WS_OP_CLOSE;
}

static enum ws_event judge_first_byte(const struct ws_reader *reader, uint8_t byte,
                                      struct ws_item *item)
{
    if (byte & RESERVED_BITS)
        return fault(item, WS_CODE_PROTOCOL, "ws_reserved_bits");
    switch (byte & OPCODE) {
    case WS_OP_CLOSE:
    case WS_OP_PING:
    case WS_OP_PONG:
        return byte & FIN ? WS_PIECE : fault(item, WS_CODE_PROTOCOL, "ws_fragmented_control");
    case WS_OP_CONTINUATION:
        return reader->in_message ? WS_PIECE
                                  : fault(item, WS_CODE_PROTOCOL, "ws_stray_continuation");
    case WS_OP_TEXT:
    case WS_OP_BINARY:
        if (reader->in_message)
            return fault(item, WS_CODE_PROTOCOL, "ws_message_in_message");
        return (byte & OPCODE) == WS_OP_BINARY ? WS_PIECE
                                               : fault(item, WS_CODE_UNSUPPORTED, "ws_text");
    default:
        return fault(item, WS_CODE_PROTOCOL, "ws_reserved_opcode");
    }
}

static enum ws_event judge_second_byte(const struct ws_reader *reader, enum ws_opcode opcode,
                                       uint8_t byte, struct ws_item *item)
{
    if ((byte & MASKED) == 0 && reader->side == WS_SERVER)
        return fault(item, WS_CODE_PROTOCOL, "ws_unmasked");
    if ((byte & MASKED) != 0 && reader->side == WS_CLIENT)
        return fault(item, WS_CODE_PROTOCOL, "ws_masked");
    if (is_control(opcode) && (byte & LENGTH) > WS_CONTROL_PAYLOAD_MAX)
        return fault(item, WS_CODE_PROTOCOL, "ws_long_control");
    if (opcode == WS_OP_CLOSE && (byte & LENGTH) == 1)
        return fault(item, WS_CODE_PROTOCOL, "ws_half_close_code");
    return WS_PIECE;
}

static enum ws_event judge_length(const struct ws_reader *reader, const struct head *head,
                                  size_t field_size, struct ws_item *item)
{
    static const uint64_t least[] = {[0] = 0, [2] = LENGTH_16, [8] = UINT16_MAX + 1};
    if (head->len < least[field_size] || head->len >> 63 != 0)
        return fault(item, WS_CODE_PROTOCOL, "ws_bad_length");
    if (!is_control(head->opcode) && head->len > WS_MESSAGE_SIZE_MAX - reader->message)
        return fault(item, WS_CODE_TOO_BIG, "ws_too_big");
    return WS_PIECE;
}

/* Also WS_MORE: the head is not whole. */
static enum ws_event read_head(const struct ws_reader *reader, const uint8_t *at, size_t len,
                               struct head *head, struct ws_item *item)
{
    if (len == 0)
        return WS_MORE;
    head->opcode = (enum ws_opcode)(at[0] & OPCODE);
    head->last = (at[0] & FIN) != 0;
    if (judge_first_byte(reader, at[0], item) != WS_PIECE)
        return WS_ERROR;
    if (len == 1)
        return WS_MORE;
    if (judge_second_byte(reader, head->opcode, at[1], item) != WS_PIECE)
        return WS_ERROR;

    uint8_t short_len = at[1] & LENGTH;
    size_t field_size = short_len == LENGTH_64 ? 8 : short_len == LENGTH_16 ? 2 : 0;
    size_t mask_size = reader->side == WS_SERVER ? MASK_SIZE : 0;
    head->size = HEAD_START + field_size + mask_size;
    if (len < HEAD_START + field_size)
        return WS_MORE;
    head->len = field_size == 0 ? short_len : 0;
    for (size_t i = 0; i < field_size; i++)
        head->len = head->len << 8 | at[HEAD_START + i];
    if (judge_length(reader, head, field_size, item) != WS_PIECE)
        return WS_ERROR;
    return len < head->size ? WS_MORE : WS_PIECE;
}

/* ---- control frames ---- */

/* What a close frame may carry: RFC 6455 section 7.4 and the registry of IANA behind it. */
static bool is_code(uint32_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

/* The length of the UTF-8 sequence that `at` begins with (RFC 3629), 0 if it begins with none. */
static size_t utf8_step(const uint8_t *at, size_t len)
{
    /* From the first byte: the length, and what the second one may be. */
    uint8_t least = 0x80, most = 0xbf;
    size_t step;
    if (at[0] < 0x80)
        return 1;
    if (at[0] >= 0xc2 && at[0] <= 0xdf) {
        step = 2;
    } else if (at[0] >= 0xe0 && at[0] <= 0xef) {
        step = 3;
        least = at[0] == 0xe0 ? 0xa0 : least; /* no longer than needed */
        most = at[0] == 0xed ? 0x9f : most;   /* no halves of a pair of UTF-16 */
    } else if (at[0] >= 0xf0 && at[0] <= 0xf4) {
        step = 4;
        least = at[0] == 0xf0 ? 0x90 : least;
        most = at[0] == 0xf4 ? 0x8f : most; /* up to U+10FFFF */
    } else {
        return 0;
    }
    if (len < step || at[1] < least || at[1] > most)
        return 0;
    for (size_t i = 2; i < step; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    return step;
}

static bool is_utf8(const uint8_t *at, size_t len)
{
    while (len > 0) {
        size_t step = utf8_step(at, len);
        if (step == 0)
            return false;
        at += step;
        len -= step;
    }
    return true;
}

/* `item` has the whole payload. */
static enum ws_event read_close(struct ws_item *item)
{
    if (item->len == 0) {
        item->code = WS_CODE_NONE;
        return WS_CLOSE;
    }
    assert(item->len >= CODE_SIZE);
    item->code = (uint16_t)(item->at[0] << 8 | item->at[1]);
    item->at += CODE_SIZE;
    item->len -= CODE_SIZE;
    if (!is_code(item->code))
        return fault(item, WS_CODE_PROTOCOL, "ws_bad_close_code");
    if (!is_utf8(item->at, item->len))
        return fault(item, WS_CODE_INVALID_DATA, "ws_bad_close_text");
    return WS_CLOSE;
}

static enum ws_event read_control(const struct head *head, uint32_t mask, uint8_t *bytes,
                                  size_t len, size_t *used, struct ws_item *item)
{
    size_t payload = (size_t)head->len;
    if (len < head->size + payload)
        return WS_MORE;
    *used += head->size + payload;
    item->at = bytes + head->size;
    item->len = payload;
    apply_mask(item->at, item->len, mask);
    if (head->opcode == WS_OP_CLOSE)
        return read_close(item);
    return head->opcode == WS_OP_PING ? WS_PING : WS_PONG;
}

/* ---- reading ---- */

static enum ws_event read_payload(struct ws_reader *reader, uint8_t *bytes, size_t len,
                                  size_t *used, struct ws_item *item)
{
    size_t piece = len < reader->left ? len : reader->left;
    item->at = bytes;
    item->len = piece;
    if (reader->side == WS_SERVER) {
        apply_mask(bytes, piece, reader->mask);
        reader->mask = turned(reader->mask, piece);
    }
    *used += piece;
    reader->left -= (uint32_t)piece;
    item->end = reader->left == 0 && reader->last_frame;
    if (item->end) {
        reader->in_message = false;
        reader->message = 0;
    }
    return WS_PIECE;
}

/* At a head. */
static enum ws_event read_frame(struct ws_reader *reader, uint8_t *bytes, size_t len, size_t *used,
                                struct ws_item *item)
{
    struct head head;
    uint32_t mask = 0;
    enum ws_event event = read_head(reader, bytes, len, &head, item);
    if (event != WS_PIECE)
        return event;
    if (reader->side == WS_SERVER)
        memcpy(&mask, bytes + head.size - MASK_SIZE, sizeof mask);
    if (is_control(head.opcode))
        return read_control(&head, mask, bytes, len, used, item);

    reader->left = (uint32_t)head.len;
    reader->message += (uint32_t)head.len;
    reader->mask = mask;
    reader->in_message = true;
    reader->last_frame = head.last;
    *used += head.size;
    if (len == head.size && reader->left > 0)
        return WS_MORE;
    return read_payload(reader, bytes + head.size, len - head.size, used, item);
}

enum ws_event ws_read(struct ws_reader *reader, uint8_t *bytes, size_t len, size_t *used,
                      struct ws_item *item)
{
    *used = 0;
    *item = (struct ws_item){.at = bytes};
    if (reader->ended) {
        *used = len;
        return WS_MORE;
    }
    if (reader->left > 0)
        return len == 0 ? WS_MORE : read_payload(reader, bytes, len, used, item);
    enum ws_event event = read_frame(reader, bytes, len, used, item);
    reader->ended = event == WS_CLOSE || event == WS_ERROR;
    return event;
}

/* ---- writing ---- */

size_t ws_head_size(size_t len, bool masked)
{
    size_t field_size = len < LENGTH_16 ? 0 : len <= UINT16_MAX ? 2 : 8;
    return HEAD_START + field_size + (masked ? MASK_SIZE : 0);
}

size_t ws_head_write(uint8_t *out, enum ws_opcode opcode, size_t len, const uint8_t *mask)
{
    size_t size = ws_head_size(len, mask != NULL);
    size_t field_size = size - HEAD_START - (mask != NULL ? MASK_SIZE : 0);
    out[0] = (uint8_t)(FIN | opcode);
    out[1] = (uint8_t)(field_size == 0 ? len : field_size == 2 ? LENGTH_16 : LENGTH_64);
    for (size_t i = 0; i < field_size; i++)
        out[HEAD_START + i] = (uint8_t)((uint64_t)len >> 8 * (field_size - 1 - i));
    if (mask != NULL) {
        out[1] |= MASKED;
        memcpy(out + size - MASK_SIZE, mask, MASK_SIZE);
    }
    return size;
}

size_t ws_control_write(uint8_t *out, enum ws_opcode opcode, struct span payload,
                        const uint8_t *mask)
{
    assert(is_control(opcode) && payload.len <= WS_CONTROL_PAYLOAD_MAX);
    size_t size = ws_head_write(out, opcode, payload.len, mask);
    if (payload.len > 0)
        memcpy(out + size, payload.at, payload.len);
    if (mask != NULL)
        ws_mask(out + size, payload.len, mask);
    return size + payload.len;
}

size_t ws_close_write(uint8_t *out, uint16_t code, const char *text, const uint8_t *mask)
{
    uint8_t payload[WS_CONTROL_PAYLOAD_MAX];
    if (code == WS_CODE_NONE)
        return ws_control_write(out, WS_OP_CLOSE, (struct span){0}, mask);
    size_t len = strlen(text);
    if (len > sizeof payload - CODE_SIZE) {
        len = sizeof payload - CODE_SIZE;
        while (len > 0 && ((uint8_t)text[len] & 0xc0) == 0x80)
            len--; /* not in the middle of a character */
    }
    payload[0] = (uint8_t)(code >> 8);
    payload[1] = (uint8_t)code;
    memcpy(payload + CODE_SIZE, text, len);
    return ws_control_write(out, WS_OP_CLOSE, span_of(payload, CODE_SIZE + len), mask);
}
