/* ws_upgrades: heads of requests that are no upgrade to our WebSocket, and some odd ones that are;
 * for the parser's test and for that of a real edge. */
#ifndef TESTS_WS_UPGRADES_H
#define TESTS_WS_UPGRADES_H

#include "proto/ws_upgrade.h"

struct ws_upgrade_case {
    const char *what;
    const char *head;
    size_t len;
    enum ws_upgrade_outcome outcome;
};

#define GET_ "GET /lahar?x=1 HTTP/1.1\r\n"
#define HOST_ "Host: edge.example:7702\r\n"
#define UPG_ "Upgrade: websocket\r\n"
#define CON_ "Connection: Upgrade\r\n"
#define KEY_ "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VER_ "Sec-WebSocket-Version: 13\r\n"
#define PRO_ "Sec-WebSocket-Protocol: lahar.v1\r\n"
#define END_ "\r\n"
/* All that is needed but the request line, and but one field. */
#define FIELDS_ HOST_ UPG_ CON_ KEY_ VER_ PRO_
#define NO_HOST_ UPG_ CON_ KEY_ VER_ PRO_
#define NO_UPG_ HOST_ CON_ KEY_ VER_ PRO_
#define NO_CON_ HOST_ UPG_ KEY_ VER_ PRO_
#define NO_KEY_ HOST_ UPG_ CON_ VER_ PRO_
#define NO_VER_ HOST_ UPG_ CON_ KEY_ PRO_
#define NO_PRO_ HOST_ UPG_ CON_ KEY_ VER_
#define ROW(what, outcome, head)                                                                   \
    {                                                                                              \
        what, head, sizeof(head) - 1, WS_UPGRADE_##outcome                                         \
    }
/* A whole head with the wrong line first, or with a wrong field between good ones. */
#define LINE(what, outcome, line) ROW(what, outcome, line "\r\n" FIELDS_ END_)
#define FIELD(what, outcome, field, others) ROW(what, outcome, GET_ others field "\r\n" END_)
#define MID(what, outcome, raw) ROW(what, outcome, GET_ HOST_ UPG_ raw CON_ KEY_ VER_ PRO_ END_)

static const struct ws_upgrade_case ws_upgrades_bad[] = {
    /* the request line */
    LINE("no line", BAD_LINE, ""),
    LINE("an empty line first", BAD_LINE, "\r\nGET / HTTP/1.1"),
    LINE("a space first", BAD_LINE, " GET / HTTP/1.1"),
    LINE("no path", BAD_LINE, "GET HTTP/1.1"),
    LINE("an empty path", BAD_LINE, "GET  HTTP/1.1"),
    LINE("no version", BAD_LINE, "GET /"),
    LINE("only a method", BAD_LINE, "GET"),
    LINE("two spaces", BAD_LINE, "GET /  HTTP/1.1"),
    LINE("a tab", BAD_LINE, "GET\t/\tHTTP/1.1"),
    LINE("a space in the path", BAD_LINE, "GET /a b HTTP/1.1"),
    LINE("a space at the end", BAD_LINE, "GET / HTTP/1.1 "),
    LINE("no slash", BAD_LINE, "GET lahar HTTP/1.1"),
    LINE("a star", BAD_LINE, "GET * HTTP/1.1"),
    LINE("a whole address", BAD_LINE, "GET http://edge.example/ HTTP/1.1"),
    LINE("a fragment", BAD_LINE, "GET /#x HTTP/1.1"),
    LINE("a control character", BAD_LINE, "GET /\x01 HTTP/1.1"),
    LINE("a DEL", BAD_LINE, "GET /\x7f HTTP/1.1"),
    LINE("a NUL", BAD_LINE, "GET /\0 HTTP/1.1"),
    LINE("not ASCII", BAD_LINE, "GET /\xc3\xa4 HTTP/1.1"),
    LINE("a lone CR", BAD_LINE, "GET /\r HTTP/1.1"),
    ROW("a lone LF", BAD_LINE, "GET / HTTP/1.1\n" FIELDS_ END_),
    LINE("no method", BAD_LINE, " / HTTP/1.1"),
    LINE("no token as method", BAD_LINE, "G(ET / HTTP/1.1"),
    LINE("lower-case http", BAD_LINE, "GET / http/1.1"),
    LINE("another protocol", BAD_LINE, "GET / HTCP/1.1"),
    LINE("no number", BAD_LINE, "GET / HTTP/x.1"),
    LINE("a long number", BAD_LINE, "GET / HTTP/1.11"),
    LINE("half a number", BAD_LINE, "GET / HTTP/1."),
    LINE("a colon for a dot", BAD_LINE, "GET / HTTP/1:1"),
    LINE("the preface of HTTP/2", BAD_LINE, "PRI * HTTP/2.0"),
    LINE("HTTP/1.0", BAD_HTTP, "GET / HTTP/1.0"),
    LINE("HTTP/1.2", BAD_HTTP, "GET / HTTP/1.2"),
    LINE("HTTP/2.0", BAD_HTTP, "GET / HTTP/2.0"),
    LINE("HTTP/0.9", BAD_HTTP, "GET / HTTP/0.9"),
    LINE("POST", BAD_METHOD, "POST / HTTP/1.1"),
    LINE("HEAD", BAD_METHOD, "HEAD / HTTP/1.1"),
    LINE("OPTIONS", BAD_METHOD, "OPTIONS / HTTP/1.1"),
    LINE("get", BAD_METHOD, "get / HTTP/1.1"),
    LINE("GETS", BAD_METHOD, "GETS / HTTP/1.1"),
    ROW("a TLS hello", BAD_LINE, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x0a"),
    ROW("our own frames", BAD_LINE, "\x0a\x08\x08\x01\x12\x04hey\n"),
    /* how fields are written */
    MID("a lone LF", BAD_HEADER, "X: y\n"),
    MID("a lone CR", BAD_HEADER, "X: y\rZ: a\r\n"),
    MID("two CRs", BAD_HEADER, "X: y\r\r\n"),
    MID("a NUL", BAD_HEADER, "X: a\0b\r\n"),
    MID("a control character", BAD_HEADER, "X: a\x0b\r\n"),
    MID("a DEL", BAD_HEADER, "X: a\x7f\r\n"),
    MID("folded", BAD_HEADER, "X: a\r\n b\r\n"),
    MID("folded by a tab", BAD_HEADER, "X: a\r\n\tb\r\n"),
    MID("folded at once", BAD_HEADER, " X: a\r\n"),
    MID("no colon", BAD_HEADER, "nothing\r\n"),
    MID("no name", BAD_HEADER, ": x\r\n"),
    MID("a space before the colon", BAD_HEADER, "X : y\r\n"),
    MID("a tab before the colon", BAD_HEADER, "X\t: y\r\n"),
    MID("a space in a name", BAD_HEADER, "X Y: z\r\n"),
    MID("a name in brackets", BAD_HEADER, "(X): z\r\n"),
    MID("a name that is not ASCII", BAD_HEADER, "\xc3\xa4: z\r\n"),
    MID("a name with a NUL", BAD_HEADER, "X\0: z\r\n"),
    MID("only spaces", BAD_HEADER, "   \r\n"),
    MID("a space before Host", BAD_HEADER, " Host: b\r\n"),
    /* Host and Origin */
    ROW("no Host", BAD_HOST, GET_ NO_HOST_ END_),
    FIELD("an empty Host", BAD_HOST, "Host:", NO_HOST_),
    FIELD("a Host of spaces", BAD_HOST, "Host:  \t ", NO_HOST_),
    FIELD("two hosts", BAD_HOST, "Host: a, b", NO_HOST_),
    FIELD("a user in Host", BAD_HOST, "Host: me@edge", NO_HOST_),
    FIELD("a path in Host", BAD_HOST, "Host: edge/x", NO_HOST_),
    FIELD("a space in Host", BAD_HOST, "Host: edge .example", NO_HOST_),
    FIELD("Host is not ASCII", BAD_HOST, "Host: \xc3\xa4.example", NO_HOST_),
    FIELD("Host twice", DOUBLED, "Host: edge.example:7702", FIELDS_),
    FIELD("Host twice, in other letters", DOUBLED, "hOST: other", FIELDS_),
    FIELD("an empty Origin", BAD_ORIGIN, "Origin:", FIELDS_),
    FIELD("an Origin of spaces", BAD_ORIGIN, "Origin:   ", FIELDS_),
    FIELD("two origins", BAD_ORIGIN, "Origin: https://a https://b", FIELDS_),
    FIELD("Origin is not ASCII", BAD_ORIGIN, "Origin: https://\xc3\xa4.example", FIELDS_),
    FIELD("Origin twice", DOUBLED, "Origin: https://a\r\nOrigin: https://a", FIELDS_),
    /* the upgrade */
    ROW("a plain request", NO_UPGRADE, GET_ HOST_ "Accept: text/html\r\n" END_),
    ROW("no Upgrade", NO_UPGRADE, GET_ NO_UPG_ END_),
    FIELD("an empty Upgrade", NO_UPGRADE, "Upgrade:", NO_UPG_),
    FIELD("Upgrade to something else", NO_UPGRADE, "Upgrade: h2c", NO_UPG_),
    FIELD("Upgrade to more", NO_UPGRADE, "Upgrade: websockets", NO_UPG_),
    FIELD("Upgrade to a version", NO_UPGRADE, "Upgrade: websocket/13", NO_UPG_),
    FIELD("Upgrade in two words", NO_UPGRADE, "Upgrade: web socket", NO_UPG_),
    ROW("no Connection", NO_UPGRADE, GET_ NO_CON_ END_),
    FIELD("Connection: close", NO_UPGRADE, "Connection: close", NO_CON_),
    FIELD("Connection: keep-alive", NO_UPGRADE, "Connection: keep-alive", NO_CON_),
    FIELD("Connection: upgraded", NO_UPGRADE, "Connection: upgraded", NO_CON_),
    FIELD("Connection by semicolons", NO_UPGRADE, "Connection: close; upgrade", NO_CON_),
    ROW("no version", BAD_VERSION, GET_ NO_VER_ END_),
    FIELD("an empty version", BAD_VERSION, "Sec-WebSocket-Version:", NO_VER_),
    FIELD("version 8", BAD_VERSION, "Sec-WebSocket-Version: 8", NO_VER_),
    FIELD("version 12", BAD_VERSION, "Sec-WebSocket-Version: 12", NO_VER_),
    FIELD("version 14", BAD_VERSION, "Sec-WebSocket-Version: 14", NO_VER_),
    FIELD("version 013", BAD_VERSION, "Sec-WebSocket-Version: 013", NO_VER_),
    FIELD("version 13.0", BAD_VERSION, "Sec-WebSocket-Version: 13.0", NO_VER_),
    FIELD("versions", BAD_VERSION, "Sec-WebSocket-Version: 13, 8", NO_VER_),
    FIELD("version twice", DOUBLED, "Sec-WebSocket-Version: 13", FIELDS_),
    ROW("no key", BAD_KEY, GET_ NO_KEY_ END_),
    FIELD("an empty key", BAD_KEY, "Sec-WebSocket-Key:", NO_KEY_),
    FIELD("a short key", BAD_KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j", NO_KEY_),
    FIELD("a key of 15 bytes", BAD_KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j5Q=", NO_KEY_),
    FIELD("a key of 17 bytes", BAD_KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQE=", NO_KEY_),
    FIELD("a key of 24 digits", BAD_KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQEB", NO_KEY_),
    FIELD("a longer key", BAD_KEY, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ===", NO_KEY_),
    FIELD("bits to spare in a key", BAD_KEY,
          "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==", NO_KEY_),
    FIELD("a key for URLs", BAD_KEY, "Sec-WebSocket-Key: dGhl-HNhbXBsZSBub25jZQ==", NO_KEY_),
    FIELD("a key in quotes", BAD_KEY, "Sec-WebSocket-Key: \"GhlIHNhbXBsZSBub25jZQ==\"", NO_KEY_),
    FIELD("a space in a key", BAD_KEY, "Sec-WebSocket-Key: dGhlIHNh XBsZSBub25jZQ==", NO_KEY_),
    FIELD("padding within a key", BAD_KEY, "Sec-WebSocket-Key: dGhlIHNh=XBsZSBub25jZQ==", NO_KEY_),
    FIELD("key twice", DOUBLED, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", FIELDS_),
    ROW("no protocol", NO_PROTOCOL, GET_ NO_PRO_ END_),
    FIELD("an empty protocol", NO_PROTOCOL, "Sec-WebSocket-Protocol:", NO_PRO_),
    FIELD("another protocol", NO_PROTOCOL, "Sec-WebSocket-Protocol: chat", NO_PRO_),
    FIELD("another version of it", NO_PROTOCOL, "Sec-WebSocket-Protocol: lahar.v2", NO_PRO_),
    FIELD("in other letters", NO_PROTOCOL, "Sec-WebSocket-Protocol: LAHAR.V1", NO_PRO_),
    FIELD("it with more", NO_PROTOCOL, "Sec-WebSocket-Protocol: lahar.v1x", NO_PRO_),
    FIELD("in quotes", NO_PROTOCOL, "Sec-WebSocket-Protocol: \"lahar.v1\"", NO_PRO_),
    FIELD("by spaces", NO_PROTOCOL, "Sec-WebSocket-Protocol: lahar.v1 chat", NO_PRO_),
    /* a body */
    FIELD("a body", HAS_BODY, "Content-Length: 5", FIELDS_),
    FIELD("a length of +0", HAS_BODY, "Content-Length: +0", FIELDS_),
    FIELD("a length of nothing", HAS_BODY, "Content-Length:", FIELDS_),
    FIELD("a length twice in one", HAS_BODY, "Content-Length: 0, 0", FIELDS_),
    FIELD("a huge length", HAS_BODY, "content-length: 99999999999999999999", FIELDS_),
    FIELD("chunks", HAS_BODY, "Transfer-Encoding: chunked", FIELDS_),
    FIELD("identity", HAS_BODY, "Transfer-Encoding: identity", FIELDS_),
};

/* Odd, and right. */
static const struct ws_upgrade_case ws_upgrades_good[] = {
    ROW("as it should be", OK, GET_ FIELDS_ END_),
    ROW("the other way round", OK, GET_ PRO_ VER_ KEY_ CON_ UPG_ HOST_ END_),
    ROW("with frames behind it", OK, GET_ FIELDS_ END_ "\x82\x80\x01\x02\x03\x04"),
    ROW("as Firefox writes it", OK,
        GET_ HOST_
        "User-Agent: Mozilla/5.0\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n" VER_
        "Origin: https://games.example\r\n" PRO_
        "Sec-WebSocket-Extensions: permessage-deflate\r\n" KEY_
        "Connection: keep-alive, Upgrade\r\nPragma: no-cache\r\n" UPG_ END_),
    ROW("in other letters", OK,
        GET_ "host:edge\r\nUPGRADE:WebSocket\r\nconnection:uPGRADE\r\n"
             "sec-websocket-key:dGhlIHNhbXBsZSBub25jZQ==\r\nSEC-WEBSOCKET-VERSION:13\r\n"
             "sec-websocket-protocol:lahar.v1\r\n" END_),
    ROW("spaces around", OK,
        GET_ "Host: \tedge \t\r\n" UPG_ CON_
             "Sec-WebSocket-Key:   dGhlIHNhbXBsZSBub25jZQ==  \r\n" VER_
             "Sec-WebSocket-Protocol: chat ,\tlahar.v1 , x\r\n" END_),
    FIELD("lists in parts", OK, "Connection: close\r\nUpgrade: h2c\r\nSec-WebSocket-Protocol: x",
          FIELDS_),
    FIELD("lists with holes", OK, "Sec-WebSocket-Protocol: ,, ,lahar.v1,,", NO_PRO_),
    FIELD("a length of 0", OK, "Content-Length: 0", FIELDS_),
    FIELD("an empty field", OK, "X-Empty:", FIELDS_),
    FIELD("a field in Latin 1", OK, "X-Name: \xe4", FIELDS_),
    FIELD("no page's origin", OK, "Origin: null", FIELDS_),
    FIELD("an address of IPv6", OK, "Host: [2001:db8::1]:7702", NO_HOST_),
};

#undef ROW
#undef LINE
#undef FIELD
#undef MID

#endif
