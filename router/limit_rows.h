/* Every limit of a shard, once: enum, label in metrics, the reason label that what met it is
 * counted under.
 *
 *     name               label               reason */
// clang-format off
LIMIT(SESSIONS,          "sessions",         "busy")
LIMIT(DEVICES,           "devices",          "too_many_devices")
LIMIT(UNACKNOWLEDGED,    "unacknowledged",   "busy")
LIMIT(PENDING,           "pending",          "busy")
LIMIT(PENDING_BYTES,     "pending_bytes",    "busy")
LIMIT(OUTCOMES,          "outcomes",         "forgotten")
LIMIT(CONVERSATIONS,     "conversations",    "forgotten")
LIMIT(RESOLVES,          "resolves",         "busy")
LIMIT(STORE_QUEUE,       "presence_queue",   "dropped")
LIMIT(CREDIT,            "link_credit",      "busy")
LIMIT(EDGES,             "edges",            "refused")
LIMIT(SITES_SHARED,      "sites_shared",     "not_told")
LIMIT(KICKS,             "kicks",            "not_kept")
// clang-format on
#undef LIMIT
