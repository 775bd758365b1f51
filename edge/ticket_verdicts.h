/* How the check of a ticket ends: enum, label in metrics. Clients learn only that they need a token
 * (or BUSY, while this edge has no keys). TOO_OLD is the owner's word, beside the OK of this edge.
 */
// clang-format off
TICKET_VERDICT(OK,           "ok")
TICKET_VERDICT(MALFORMED,    "malformed")
TICKET_VERDICT(NO_KEYS,      "no_keys")
TICKET_VERDICT(UNKNOWN_KEY,  "unknown_key")
TICKET_VERDICT(BAD_MAC,      "bad_mac")
TICKET_VERDICT(EXPIRED,      "expired")
TICKET_VERDICT(OTHER_DEVICE, "other_device")
TICKET_VERDICT(UNKNOWN_SITE, "unknown_site")
TICKET_VERDICT(NOT_BEFORE,   "not_before")
TICKET_VERDICT(TOO_OLD,      "too_old")
// clang-format on
#undef TICKET_VERDICT
