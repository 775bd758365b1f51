/* Every limit of an edge, once: enum, label in metrics, the reason label that its refusals are
 * counted under, and how a client that meets it is told (an end reason; NONE: by a nack, or by
 * nothing that ends the connection).
 *
 *     name                  label                      reason          end */
// clang-format off
LIMIT(CONNECTIONS,          "connections",             "edge_full",    EDGE_FULL)
LIMIT(DESCRIPTORS,          "descriptors",             "edge_full",    EDGE_FULL)
LIMIT(OVERLOAD,             "overload",                "busy",         BUSY)
LIMIT(OVERLOAD_SENDS,       "overload_sends",          "shed",         NONE)
LIMIT(ACCEPTS,              "accepts_per_s",           "busy",         BUSY)
LIMIT(HANDSHAKES,           "handshakes_per_s",        "busy",         BUSY)
LIMIT(LOGINS,               "logins_per_s",            "busy",         BUSY)
LIMIT(TICKETS,              "tickets_per_s",           "busy",         BUSY)
LIMIT(LOGINS_WAITING,       "logins_waiting",          "busy",         BUSY)
LIMIT(ADDRESS_CONNECTIONS,  "address_connections",     "address_full", ADDRESS_FULL)
LIMIT(ADDRESS_ACCEPTS,      "address_accepts_per_s",   "busy",         BUSY)
LIMIT(ADDRESS_LOGINS,       "address_logins_per_s",    "busy",         BUSY)
LIMIT(ADDRESS_SENDS,        "address_sends_per_s",     "busy",         NONE)
LIMIT(ADDRESSES,            "addresses",               "not_told_apart", NONE)
LIMIT(SENDS,                "sends_per_s",             "busy",         NONE)
LIMIT(SENDS_IN_FLIGHT,      "sends_in_flight",         "busy",         NONE)
LIMIT(SITE_SENDS,           "site_sends_per_s",        "busy",         NONE)
LIMIT(SITE_LOGINS,          "site_logins_per_s",       "busy",         BUSY)
LIMIT(SITE_CONNECTIONS,     "site_connections",        "site_full",    SITE_FULL)
LIMIT(OUT_BYTES,            "out_bytes",               "slow_reader",  SLOW_READER)
LIMIT(OUT_BYTES_TOTAL,      "out_bytes_total",         "slow_reader",  SLOW_READER)
LIMIT(IN_BYTES_TOTAL,       "in_bytes_total",          "busy",         BUSY)
LIMIT(HANDSHAKE_MS,         "handshake_ms",            "tls_timeout",  TLS_TIMEOUT)
LIMIT(HELLO_MS,             "hello_ms",                "hello_timeout",HELLO_TIMEOUT)
LIMIT(LOGIN_MS,             "login_ms",                "busy",         BUSY)
LIMIT(HELLO_BYTES,          "hello_bytes",             "bad_frame",    BAD_FRAME)
LIMIT(CREDIT,               "link_credit",             "busy",         NONE)
// clang-format on
#undef LIMIT
