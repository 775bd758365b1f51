/* Every way a client's connection ends, once: enum, wire number (Error, Goaway, Unbind), label in
 * logs and counters, whose doing it is, and what the client library does next: BACK (reconnects
 * with jitter), FRESH (fetches a new token first), AWAY (stays away until the application says
 * otherwise). Numbers are for ever; some are not given yet.
 *
 *     name              number label               fault  next   text for people */
// clang-format off
END_REASON(PEER_LEFT,        1, "peer_left",        PEER,  BACK,  "the peer closed the connection")
END_REASON(BYE,              2, "bye",              PEER,  AWAY,  "the client said goodbye")
END_REASON(IDLE,             3, "idle",             PEER,  BACK,  "nothing was heard for two heartbeats")
END_REASON(BAD_FRAME,        4, "bad_frame",        PEER,  BACK,  "a frame could not be read")
END_REASON(BAD_SEQUENCE,     5, "bad_sequence",     PEER,  BACK,  "a frame that is not allowed at this point")
END_REASON(SLOW_READER,      6, "slow_reader",      PEER,  BACK,  "the peer does not read what is sent to it")
END_REASON(HELLO_TIMEOUT,    7, "hello_timeout",    PEER,  BACK,  "no Hello in time")
END_REASON(TLS_FAILED,       8, "tls_failed",       PEER,  BACK,  "the TLS handshake failed")
END_REASON(TLS_TIMEOUT,      9, "tls_timeout",      PEER,  BACK,  "the TLS handshake took too long")
END_REASON(IO_ERROR,        10, "io_error",         PEER,  BACK,  "the socket reported an error")
END_REASON(BAD_VERSION,     11, "bad_version",      PEER,  AWAY,  "this version of the protocol is not spoken here")
END_REASON(BAD_DEVICE,      12, "bad_device",       PEER,  AWAY,  "a device name has 1 to 32 of A-Z a-z 0-9 . _ -")
END_REASON(TOKEN_REFUSED,   13, "token_refused",    PEER,  AWAY,  "the token was not accepted")
END_REASON(TOKEN_EXPIRED,   14, "token_expired",    PEER,  FRESH, "the token has expired")
END_REASON(TOKEN_REQUIRED,  15, "token_required",   PEER,  FRESH, "the ticket is no longer good; log in with a token")
END_REASON(REPLACED,        16, "replaced",         PEER,  AWAY,  "this device logged in elsewhere")
END_REASON(KICKED,          17, "kicked",           US,    AWAY,  "an operator ended this session")
END_REASON(TOO_MANY_DEVICES,18, "too_many_devices", PEER,  AWAY,  "the user has as many devices connected as are allowed")
END_REASON(BUSY,            19, "busy",             US,    BACK,  "the cluster cannot take this login now")
END_REASON(EDGE_FULL,       20, "edge_full",        US,    BACK,  "this edge holds as many connections as it may")
END_REASON(EDGE_LEAVING,    21, "edge_leaving",     US,    BACK,  "this edge is shutting down")
END_REASON(CUT_OFF,         22, "cut_off",          US,    BACK,  "this edge has lost its connection to the cluster")
END_REASON(NO_SESSION,      23, "no_session",       US,    BACK,  "the cluster no longer knows this session")
END_REASON(ORIGIN_REFUSED,  24, "origin_refused",   PEER,  AWAY,  "the site does not admit pages of this origin")
END_REASON(UPGRADE_REFUSED, 25, "upgrade_refused",  PEER,  BACK,  "the HTTP request was no upgrade to WebSocket that is served here")
END_REASON(WS_BROKEN,       26, "ws_broken",        PEER,  BACK,  "the rules of WebSocket were broken")
END_REASON(WS_TEXT,         27, "ws_text",          PEER,  BACK,  "text was sent over WebSocket; messages are binary")
END_REASON(PROXY_UNLISTED,  28, "proxy_unlisted",   PEER,  BACK,  "the peer is no proxy that is listed in proxy.from")
END_REASON(PROXY_FAILED,    29, "proxy_failed",     PEER,  BACK,  "no PROXY protocol header came, or none that could be read")
END_REASON(ADDRESS_FULL,    30, "address_full",     PEER,  BACK,  "there are as many connections from this address as are allowed")
END_REASON(SITE_FULL,       31, "site_full",        US,    BACK,  "the site has as many connections as are allowed")
// clang-format on
#undef END_REASON
