#include "proto/ws_upgrade.h"

#include <stdio.h>
#include <strings.h>

#define WEBSOCKET_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 section 1.3 */
#define VERSION_LEN 8u                                        /* HTTP/1.1 */

struct outcome {
    const char *label, *text;
    uint32_t status;
};

static const struct outcome outcomes[WS_UPGRADE_OUTCOMES] = {
    {"", "", 0},
    {"", "", 0},
#define WS_UPGRADE_OUTCOME(name, status, label, text) {label, text, status},
#include "proto/ws_upgrade_outcomes.h"
};

const char *ws_upgrade_label(enum ws_upgrade_outcome outcome)
{
    return outcomes[outcome].label;
}

const char *ws_upgrade_text(enum ws_upgrade_outcome outcome)
{
    return outcomes[outcome].text;
}

uint32_t ws_upgrade_status(enum ws_upgrade_outcome outcome)
{
    return outcomes[outcome].status;
}

/* ---- characters ---- */

static bool is_alnum(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z');
}

static bool is_visible(uint8_t byte)
{
    return byte > 0x20 && byte < 0x7f;
}

static bool is_in(uint8_t byte, const char *set)
{
    return byte != 0 && strchr(set, byte) != NULL;
}

static bool is_token_byte(uint8_t byte)
{
    return is_alnum(byte) || is_in(byte, "!#$%&'*+-.^_`|~");
}

static bool is_value_byte(uint8_t byte)
{
    return byte == '\t' || byte == ' ' || is_visible(byte) || byte >= 0x80;
}

static bool is_path_byte(uint8_t byte)
{
    return is_visible(byte) && byte != '#';
}

static bool is_host_byte(uint8_t byte)
{
    return is_alnum(byte) || is_in(byte, "-._~%:[]");
}

static bool is_digit(uint8_t byte)
{
    return byte >= '0' && byte <= '9';
}

static bool all(struct span text, bool (*is)(uint8_t byte))
{
    for (size_t i = 0; i < text.len; i++)
        if (!is(text.at[i]))
            return false;
    return true;
}

static bool is_text(struct span span, const char *text)
{
    return span_equal(span, span_text(text));
}

static bool is_word(struct span span, const char *word)
{
    return span.len == strlen(word) && strncasecmp((const char *)span.at, word, span.len) == 0;
}

bool ws_upgrade_path_valid(struct span path)
{
    return path.len > 0 && path.at[0] == '/' && all(path, is_path_byte);
}

static bool host_valid(struct span host)
{
    return host.len > 0 && all(host, is_host_byte);
}

/* 16 bytes have 22 digits, of which the last one has four bits to spare. */
static bool key_valid(struct span key)
{
    if (key.len != WS_UPGRADE_KEY_SIZE || key.at[22] != '=' || key.at[23] != '=' ||
        !is_in(key.at[21], "AQgw"))
        return false;
    for (size_t i = 0; i < 21; i++)
        if (!is_alnum(key.at[i]) && key.at[i] != '+' && key.at[i] != '/')
            return false;
    return true;
}

/* ---- lines ---- */

enum step { STEP_TAKEN, STEP_END, STEP_PARTIAL, STEP_BAD };

/* Cuts the next line off; without its CR LF. */
static enum step next_line(struct span *rest, struct span *line)
{
    const uint8_t *end = rest->len > 0 ? memchr(rest->at, '\n', rest->len) : NULL;
    if (end == NULL)
        return STEP_PARTIAL;
    size_t len = (size_t)(end - rest->at);
    if (len == 0 || end[-1] != '\r')
        return STEP_BAD;
    *line = span_upto(*rest, len - 1);
    *rest = span_after(*rest, len + 1);
    return STEP_TAKEN;
}

static struct span trimmed(struct span text)
{
    while (text.len > 0 && is_in(text.at[0], " \t"))
        text = span_after(text, 1);
    while (text.len > 0 && is_in(text.at[text.len - 1], " \t"))
        text = span_upto(text, text.len - 1);
    return text;
}

/* STEP_END: the empty line behind the last field was taken. */
static enum step next_field(struct span *rest, struct span *name, struct span *value)
{
    struct span line;
    enum step step = next_line(rest, &line);
    if (step != STEP_TAKEN)
        return step;
    if (line.len == 0)
        return STEP_END;
    const uint8_t *colon = memchr(line.at, ':', line.len);
    if (colon == NULL)
        return STEP_BAD;
    *name = span_upto(line, (size_t)(colon - line.at));
    *value = trimmed(span_after(line, name->len + 1));
    bool good = name->len > 0 && all(*name, is_token_byte) && all(*value, is_value_byte);
    return good ? STEP_TAKEN : STEP_BAD;
}

/* Cuts off what comes before the next `by`, which goes too; at the end of the text it is all. */
static struct span cut(struct span *text, char by)
{
    const uint8_t *end = text->len > 0 ? memchr(text->at, by, text->len) : NULL;
    size_t len = end != NULL ? (size_t)(end - text->at) : text->len;
    struct span part = span_upto(*text, len);
    *text = span_after(*text, end != NULL ? len + 1 : len);
    return part;
}

static bool lists(struct span list, const char *word, bool (*same)(struct span, const char *))
{
    while (list.len > 0)
        if (same(trimmed(cut(&list, ',')), word))
            return true;
    return false;
}

/* What is not whole within its limit never will be. */
static enum ws_upgrade_outcome partial(struct span head)
{
    return head.len >= WS_UPGRADE_SIZE_MAX ? WS_UPGRADE_TOO_LONG : WS_UPGRADE_PARTIAL;
}

static struct span within_limit(struct span head)
{
    return head.len > WS_UPGRADE_SIZE_MAX ? span_upto(head, WS_UPGRADE_SIZE_MAX) : head;
}

/* ---- a request ---- */

struct request {
    struct ws_upgrade *is;
    bool upgrade, connection, protocol, version;
};

typedef enum ws_upgrade_outcome field_reader(struct request *request, struct span value);

static enum ws_upgrade_outcome read_host(struct request *request, struct span value)
{
    if (request->is->host.at != NULL)
        return WS_UPGRADE_DOUBLED;
    request->is->host = value;
    return host_valid(value) ? WS_UPGRADE_OK : WS_UPGRADE_BAD_HOST;
}

/* An empty one must not look like none. */
static enum ws_upgrade_outcome read_origin(struct request *request, struct span value)
{
    if (request->is->origin.at != NULL)
        return WS_UPGRADE_DOUBLED;
    request->is->origin = value;
    return value.len > 0 && all(value, is_visible) ? WS_UPGRADE_OK : WS_UPGRADE_BAD_ORIGIN;
}

static enum ws_upgrade_outcome read_key(struct request *request, struct span value)
{
    if (request->is->key.at != NULL)
        return WS_UPGRADE_DOUBLED;
    request->is->key = value;
    return key_valid(value) ? WS_UPGRADE_OK : WS_UPGRADE_BAD_KEY;
}

static enum ws_upgrade_outcome read_version(struct request *request, struct span value)
{
    if (request->version)
        return WS_UPGRADE_DOUBLED;
    request->version = true;
    return is_text(value, "13") ? WS_UPGRADE_OK : WS_UPGRADE_BAD_VERSION;
}

static enum ws_upgrade_outcome read_upgrade(struct request *request, struct span value)
{
    request->upgrade |= lists(value, "websocket", is_word);
    return WS_UPGRADE_OK;
}

static enum ws_upgrade_outcome read_connection(struct request *request, struct span value)
{
    request->connection |= lists(value, "upgrade", is_word);
    return WS_UPGRADE_OK;
}

static enum ws_upgrade_outcome read_protocol(struct request *request, struct span value)
{
    request->protocol |= lists(value, WS_UPGRADE_PROTOCOL, is_text);
    return WS_UPGRADE_OK;
}

static enum ws_upgrade_outcome read_content_length(struct request *request, struct span value)
{
    (void)request;
    return is_text(value, "0") ? WS_UPGRADE_OK : WS_UPGRADE_HAS_BODY;
}

static enum ws_upgrade_outcome read_transfer_encoding(struct request *request, struct span value)
{
    (void)request;
    (void)value;
    return WS_UPGRADE_HAS_BODY;
}

static const struct {
    const char *name;
    field_reader *read;
} fields[] = {
    {"Host", read_host},
    {"Origin", read_origin},
    {"Upgrade", read_upgrade},
    {"Connection", read_connection},
    {"Sec-WebSocket-Key", read_key},
    {"Sec-WebSocket-Version", read_version},
    {"Sec-WebSocket-Protocol", read_protocol},
    {"Content-Length", read_content_length},
    {"Transfer-Encoding", read_transfer_encoding},
};

static enum ws_upgrade_outcome read_field(struct request *request, struct span name,
                                          struct span value)
{
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (is_word(name, fields[i].name))
            return fields[i].read(request, value);
    return WS_UPGRADE_OK;
}

/* "GET /path HTTP/1.1" */
static enum ws_upgrade_outcome read_request_line(struct span line, struct span *path)
{
    struct span method = cut(&line, ' ');
    *path = cut(&line, ' ');
    struct span version = line;
    if (method.len == 0 || !all(method, is_token_byte) || !ws_upgrade_path_valid(*path) ||
        version.len != VERSION_LEN || memcmp(version.at, "HTTP/", 5) != 0 ||
        !is_digit(version.at[5]) || version.at[6] != '.' || !is_digit(version.at[7]))
        return WS_UPGRADE_BAD_LINE;
    if (!is_text(version, "HTTP/1.1"))
        return WS_UPGRADE_BAD_HTTP;
    return is_text(method, "GET") ? WS_UPGRADE_OK : WS_UPGRADE_BAD_METHOD;
}

static enum ws_upgrade_outcome judge_whole(const struct request *request)
{
    if (request->is->host.at == NULL)
        return WS_UPGRADE_BAD_HOST;
    if (!request->upgrade || !request->connection)
        return WS_UPGRADE_NO_UPGRADE;
    if (!request->version)
        return WS_UPGRADE_BAD_VERSION;
    if (request->is->key.at == NULL)
        return WS_UPGRADE_BAD_KEY;
    return request->protocol ? WS_UPGRADE_OK : WS_UPGRADE_NO_PROTOCOL;
}

enum ws_upgrade_outcome ws_upgrade_parse(struct span head, struct ws_upgrade *request)
{
    struct span rest = within_limit(head), line, name, value;
    *request = (struct ws_upgrade){0};
    struct request reading = {.is = request};
    enum step step = next_line(&rest, &line);
    if (step == STEP_PARTIAL)
        return partial(head);
    if (step == STEP_BAD)
        return WS_UPGRADE_BAD_LINE;
    enum ws_upgrade_outcome outcome = read_request_line(line, &request->path);
    while (outcome == WS_UPGRADE_OK) {
        step = next_field(&rest, &name, &value);
        if (step == STEP_PARTIAL)
            return partial(head);
        if (step == STEP_BAD)
            return WS_UPGRADE_BAD_HEADER;
        if (step == STEP_END) {
            request->size = (size_t)(rest.at - head.at);
            return judge_whole(&reading);
        }
        outcome = read_field(&reading, name, value);
    }
    return outcome;
}

/* ---- answers to it ---- */

static void write_base64(char *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        size_t have = len - i < 3 ? len - i : 3;
        uint32_t word = 0;
        for (size_t j = 0; j < 3; j++)
            word = word << 8 | (j < have ? bytes[i + j] : 0u);
        for (size_t j = 0; j < 4; j++)
            *out++ = j <= have ? digits[word >> (18 - 6 * j) & 63] : '=';
    }
}

void ws_upgrade_accept(struct span key,
                       void (*sha1)(const void *bytes, size_t len, uint8_t digest[20]),
                       char out[WS_UPGRADE_ACCEPT_SIZE])
{
    char text[WS_UPGRADE_KEY_SIZE + sizeof WEBSOCKET_GUID];
    uint8_t digest[20];
    assert(key.len == WS_UPGRADE_KEY_SIZE);
    memcpy(text, key.at, key.len);
    memcpy(text + key.len, WEBSOCKET_GUID, sizeof WEBSOCKET_GUID);
    sha1(text, sizeof text - 1, digest);
    write_base64(out, digest, sizeof digest);
}

size_t ws_upgrade_answer_write(uint8_t *out, const char accept[WS_UPGRADE_ACCEPT_SIZE])
{
    int len = snprintf((char *)out, WS_UPGRADE_ANSWER_SIZE_MAX,
                       "HTTP/1.1 101 Switching Protocols\r\n"
                       "Upgrade: websocket\r\n"
                       "Connection: Upgrade\r\n"
                       "Sec-WebSocket-Accept: %.*s\r\n"
                       "Sec-WebSocket-Protocol: " WS_UPGRADE_PROTOCOL "\r\n\r\n",
                       (int)WS_UPGRADE_ACCEPT_SIZE, accept);
    assert(len > 0 && len < (int)WS_UPGRADE_ANSWER_SIZE_MAX);
    return (size_t)len;
}

static const char *phrase_of(uint32_t status)
{
    switch (status) {
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 405:
        return "Method Not Allowed\r\nAllow: GET";
    case 408:
        return "Request Timeout";
    case 426:
        return "Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13";
    case 431:
        return "Request Header Fields Too Large";
    case 503:
        return "Service Unavailable";
    default:
        assert(status == 505);
        return "HTTP Version Not Supported";
    }
}

size_t ws_upgrade_refusal_write(uint8_t *out, enum ws_upgrade_outcome outcome)
{
    uint32_t status = ws_upgrade_status(outcome);
    const char *text = ws_upgrade_text(outcome);
    int len = snprintf((char *)out, WS_UPGRADE_ANSWER_SIZE_MAX,
                       "HTTP/1.1 %u %s\r\n"
                       "Connection: close%s\r\n"
                       "Content-Type: text/plain\r\n"
                       "Content-Length: %zu\r\n\r\n"
                       "%s\n",
                       status, phrase_of(status), status == 426 ? ", Upgrade" : "",
                       strlen(text) + 1, text);
    assert(len > 0 && len < (int)WS_UPGRADE_ANSWER_SIZE_MAX);
    return (size_t)len;
}

/* ---- a client's half ---- */

void ws_upgrade_key(const uint8_t nonce[WS_UPGRADE_NONCE_SIZE], char out[WS_UPGRADE_KEY_SIZE])
{
    write_base64(out, nonce, WS_UPGRADE_NONCE_SIZE);
}

size_t ws_upgrade_request_write(uint8_t out[WS_UPGRADE_SIZE_MAX], const char *host,
                                const char *path, const char key[WS_UPGRADE_KEY_SIZE])
{
    if (!host_valid(span_text(host)) || !ws_upgrade_path_valid(span_text(path)))
        return 0;
    int len = snprintf((char *)out, WS_UPGRADE_SIZE_MAX,
                       "GET %s HTTP/1.1\r\n"
                       "Host: %s\r\n"
                       "Upgrade: websocket\r\n"
                       "Connection: Upgrade\r\n"
                       "Sec-WebSocket-Key: %.*s\r\n"
                       "Sec-WebSocket-Version: 13\r\n"
                       "Sec-WebSocket-Protocol: " WS_UPGRADE_PROTOCOL "\r\n\r\n",
                       path, host, (int)WS_UPGRADE_KEY_SIZE, key);
    return len > 0 && len < (int)WS_UPGRADE_SIZE_MAX ? (size_t)len : 0;
}

/* "HTTP/1.1 101 Switching Protocols" */
static enum ws_upgrade_outcome read_status_line(struct span line)
{
    if (line.len < VERSION_LEN + 4 || memcmp(line.at, "HTTP/1.1 ", VERSION_LEN + 1) != 0 ||
        !all(line, is_value_byte) ||
        (line.len > VERSION_LEN + 4 && line.at[VERSION_LEN + 4] != ' '))
        return WS_UPGRADE_NO_WEBSOCKET;
    struct span status = span_upto(span_after(line, VERSION_LEN + 1), 3);
    if (is_text(status, "101"))
        return WS_UPGRADE_OK;
    if (is_text(status, "401") || is_text(status, "403"))
        return WS_UPGRADE_FORBIDDEN;
    bool passes = is_text(status, "429") || is_text(status, "502") || is_text(status, "503") ||
                  is_text(status, "504");
    return passes ? WS_UPGRADE_UNAVAILABLE : WS_UPGRADE_NO_WEBSOCKET;
}

struct answer {
    struct span accept, protocol;
    bool upgrade, connection, extension;
};

/* False: it may be there once. */
static bool read_answer_field(struct answer *answer, struct span name, struct span value)
{
    struct span *once = NULL;
    if (is_word(name, "Upgrade"))
        answer->upgrade |= is_word(value, "websocket");
    else if (is_word(name, "Connection"))
        answer->connection |= lists(value, "upgrade", is_word);
    else if (is_word(name, "Sec-WebSocket-Accept"))
        once = &answer->accept;
    else if (is_word(name, "Sec-WebSocket-Protocol"))
        once = &answer->protocol;
    else if (is_word(name, "Sec-WebSocket-Extensions"))
        answer->extension |= value.len > 0;
    if (once == NULL)
        return true;
    bool first = once->at == NULL;
    *once = value;
    return first;
}

static enum ws_upgrade_outcome judge_answer(const struct answer *answer, struct span accept)
{
    if (!answer->upgrade || !answer->connection)
        return WS_UPGRADE_NO_WEBSOCKET;
    if (!span_equal(answer->accept, accept))
        return WS_UPGRADE_BAD_ACCEPT;
    return is_text(answer->protocol, WS_UPGRADE_PROTOCOL) && !answer->extension
               ? WS_UPGRADE_OK
               : WS_UPGRADE_BAD_CHOICE;
}

enum ws_upgrade_outcome
ws_upgrade_parse_answer(struct span head, const char accept[WS_UPGRADE_ACCEPT_SIZE], size_t *size)
{
    struct span rest = within_limit(head), line, name, value;
    struct answer answer = {0};
    enum step step = next_line(&rest, &line);
    if (step == STEP_PARTIAL)
        return partial(head);
    enum ws_upgrade_outcome outcome =
        step == STEP_BAD ? WS_UPGRADE_NO_WEBSOCKET : read_status_line(line);
    if (outcome != WS_UPGRADE_OK)
        return outcome;
    while ((step = next_field(&rest, &name, &value)) == STEP_TAKEN)
        if (!read_answer_field(&answer, name, value))
            return WS_UPGRADE_DOUBLED;
    if (step == STEP_PARTIAL)
        return partial(head);
    if (step == STEP_BAD)
        return WS_UPGRADE_BAD_HEADER;
    *size = (size_t)(rest.at - head.at);
    return judge_answer(&answer, span_of(accept, WS_UPGRADE_ACCEPT_SIZE));
}
