/* Why an upgrade to WebSocket came to nothing, once: enum, HTTP status, label in logs and counters,
 * text for people. The parser of requests gives those of the first part, its caller those of the
 * second, the parser of answers those of the third (without a status: nothing is answered to them).
 *
 *     name         status  label              text for people */
// clang-format off
WS_UPGRADE_OUTCOME(TOO_LONG,     431, "upgrade_too_long",     "the head of the request has more than 4 KiB")
WS_UPGRADE_OUTCOME(BAD_LINE,     400, "upgrade_bad_line",     "the request line is not that of HTTP/1.1")
WS_UPGRADE_OUTCOME(BAD_METHOD,   405, "upgrade_bad_method",   "only GET is served here")
WS_UPGRADE_OUTCOME(BAD_HTTP,     505, "upgrade_bad_http",     "only HTTP/1.1 is spoken here")
WS_UPGRADE_OUTCOME(BAD_HEADER,   400, "upgrade_bad_header",   "a header field is malformed")
WS_UPGRADE_OUTCOME(DOUBLED,      400, "upgrade_doubled",      "a header field that may be there once is there twice")
WS_UPGRADE_OUTCOME(BAD_HOST,     400, "upgrade_bad_host",     "Host is missing or malformed")
WS_UPGRADE_OUTCOME(BAD_ORIGIN,   400, "upgrade_bad_origin",   "Origin is malformed")
WS_UPGRADE_OUTCOME(HAS_BODY,     400, "upgrade_has_body",     "a request with a body is not served here")
WS_UPGRADE_OUTCOME(NO_UPGRADE,   426, "upgrade_missing",      "only WebSocket is served here: Upgrade: websocket and Connection: Upgrade are needed")
WS_UPGRADE_OUTCOME(BAD_VERSION,  426, "upgrade_bad_version",  "only version 13 of WebSocket is spoken here")
WS_UPGRADE_OUTCOME(BAD_KEY,      400, "upgrade_bad_key",      "Sec-WebSocket-Key is missing or malformed")
WS_UPGRADE_OUTCOME(NO_PROTOCOL,  400, "upgrade_no_protocol",  "the subprotocol lahar.v1 must be offered")

WS_UPGRADE_OUTCOME(ORIGIN_REFUSED, 403, "upgrade_origin_refused", "this origin is on no site's list")
WS_UPGRADE_OUTCOME(LATE,           408, "upgrade_late",           "the request took too long")
WS_UPGRADE_OUTCOME(FULL,           503, "upgrade_full",           "this edge cannot take this connection now")

WS_UPGRADE_OUTCOME(NO_WEBSOCKET,  0, "upgrade_no_websocket",  "the server does not speak WebSocket here")
WS_UPGRADE_OUTCOME(FORBIDDEN,     0, "upgrade_forbidden",     "the server does not allow it")
WS_UPGRADE_OUTCOME(UNAVAILABLE,   0, "upgrade_unavailable",   "the server cannot take this connection now")
WS_UPGRADE_OUTCOME(BAD_ACCEPT,    0, "upgrade_bad_accept",    "the server did not understand the upgrade to WebSocket")
WS_UPGRADE_OUTCOME(BAD_CHOICE,    0, "upgrade_bad_choice",    "the server did not choose lahar.v1, or chose an extension")
// clang-format on
#undef WS_UPGRADE_OUTCOME
