/* What an edge worker counts, once.
 *
 *          id               name                                  labels           kind     help */
// clang-format off
EDGE_METRIC(CONNS,            "lahar_edge_connections", "", GAUGE, "Client connections open now.")
EDGE_METRIC(CONNS_LIMIT,      "lahar_edge_connections_limit", "", GAUGE, "The most client connections that this worker holds.")
EDGE_METRIC(ACCEPTED,         "lahar_edge_accepted_total", "", COUNTER, "Client connections accepted.")
EDGE_METRIC(ACCEPT_PAUSES,    "lahar_edge_accept_pauses_total", "", COUNTER, "Times that accepting paused for want of descriptors or memory.")
EDGE_METRIC(HANDSHAKES,       "lahar_edge_tls_handshakes_total", "", COUNTER, "TLS handshakes completed.")
EDGE_METRIC(TLS_CERTIFICATES, "lahar_edge_tls_certificates", "", GAUGE, "Certificates in use; 0: no TLS.")
EDGE_METRIC(TLS_DAYS_LEFT,    "lahar_edge_tls_certificate_days_left", "", GAUGE, "Whole days until the first of them, or of their chains, ends.")
EDGE_METRIC(BYTES_IN,         "lahar_edge_client_bytes_in_total", "", COUNTER, "Clear bytes read from clients.")
EDGE_METRIC(BYTES_OUT,        "lahar_edge_client_bytes_out_total", "", COUNTER, "Clear bytes written to clients.")
EDGE_METRIC(UPGRADES,         "lahar_edge_ws_upgrades_total", "", COUNTER, "Upgrades to WebSocket completed.")
#define WS_UPGRADE_OUTCOME(name, status, label, text) EDGE_METRIC(UPGRADE_##name, "lahar_edge_ws_upgrades_refused_total", "why=\"" label "\"", COUNTER, "Requests for WebSocket refused. Those that only a client can meet stay 0.")
#include "proto/ws_upgrade_outcomes.h"
EDGE_METRIC(WRITES,           "lahar_edge_client_writes_total", "", COUNTER, "Writes to client sockets.")
#define END_REASON(name, number, label, fault, next, text) EDGE_METRIC(CLOSED_##name, "lahar_edge_closed_total", "reason=\"" label "\"", COUNTER, "Client connections ended, by reason.")
#include "proto/end_reasons.h"
#define LIMIT(name, label, reason, end) EDGE_METRIC(LIMIT_NOW_##name, "lahar_limit_current", "limit=\"" label "\"", GAUGE, "How much of a limit is used now; of a limit for each device, address or site, by the one that uses most; of a time, how many are under that clock.")
#include "edge/limit_rows.h"
#define LIMIT(name, label, reason, end) EDGE_METRIC(LIMIT_##name, "lahar_limit", "limit=\"" label "\"", GAUGE, "The limit; 0: there is none.")
#include "edge/limit_rows.h"
#define LIMIT(name, label, reason, end) EDGE_METRIC(LIMIT_REJECTED_##name, "lahar_limit_rejected_total", "limit=\"" label "\",reason=\"" reason "\"", COUNTER, "What was refused because of a limit.")
#include "edge/limit_rows.h"
EDGE_METRIC(OVERLOAD,         "lahar_edge_overload", "", GAUGE, "How much more there is to do than can be done, 0 to 100; told to the shards.")
EDGE_METRIC(OVERLOAD_TURNS,   "lahar_edge_overload_signal", "signal=\"turns\"", GAUGE, "What makes up the overload, each 0 to 100: the worst of them counts.")
EDGE_METRIC(OVERLOAD_QUEUED,  "lahar_edge_overload_signal", "signal=\"queued\"", GAUGE, "What makes up the overload, each 0 to 100: the worst of them counts.")
EDGE_METRIC(OVERLOAD_LOGINS,  "lahar_edge_overload_signal", "signal=\"logins\"", GAUGE, "What makes up the overload, each 0 to 100: the worst of them counts.")
EDGE_METRIC(OVERLOAD_CREDIT,  "lahar_edge_overload_signal", "signal=\"credit\"", GAUGE, "What makes up the overload, each 0 to 100: the worst of them counts.")
EDGE_METRIC(OVERLOAD_SHARDS,  "lahar_edge_overload_signal", "signal=\"shards\"", GAUGE, "What makes up the overload, each 0 to 100: the worst of them counts.")
EDGE_METRIC(OVERLOAD_CLASS,   "lahar_edge_overload_class", "", GAUGE, "What is refused for now: 0 nothing, 1 new connections, 2 logins too, 3 EPHEMERAL sends too.")
EDGE_METRIC(SESSIONS,         "lahar_edge_sessions", "", GAUGE, "Sessions bound now.")
EDGE_METRIC(LOGINS,           "lahar_edge_logins_total", "", COUNTER, "Logins completed.")
EDGE_METRIC(LOGINS_LATE,      "lahar_edge_logins_late_total", "", COUNTER, "Logins given up because a shard did not answer in time.")
#define TOKEN_VERDICT(name, label) EDGE_METRIC(TOKENS_##name, "lahar_edge_tokens_total", "verdict=\"" label "\"", COUNTER, "Tokens checked, by verdict.")
#include "edge/token_verdicts.h"
#define TICKET_VERDICT(name, label) EDGE_METRIC(TICKETS_##name, "lahar_edge_tickets_total", "verdict=\"" label "\"", COUNTER, "Tickets shown by clients, by verdict; too_old: by their owner, after this edge had found them ok.")
#include "edge/ticket_verdicts.h"
EDGE_METRIC(LOGINS_PARKED,    "lahar_edge_logins_parked_total", "", COUNTER, "Logins that waited for their token to be checked in a later turn.")
EDGE_METRIC(RECALLED,         "lahar_edge_recalled_total", "", COUNTER, "Sessions ended because their site takes back what it issued before a time.")
EDGE_METRIC(SITES,            "lahar_edge_sites_revision", "", GAUGE, "Revision of the site table known.")
EDGE_METRIC(FRAMES_UNKNOWN,   "lahar_edge_frames_unknown_total", "from=\"client\"", COUNTER, "Frames or fields of unknown type, ignored.")
EDGE_METRIC(LINK_UNKNOWN,     "lahar_edge_frames_unknown_total", "from=\"shard\"", COUNTER, "Frames or fields of unknown type, ignored.")
EDGE_METRIC(LINK_BAD,         "lahar_edge_link_frames_bad_total", "", COUNTER, "Frames from shards that could not be read.")
EDGE_METRIC(SENDS,            "lahar_edge_sends_accepted_total", "", COUNTER, "Sends accepted from clients. Ledger: equals the ends plus those in flight.")
EDGE_METRIC(SENDS_ACKED,      "lahar_edge_sends_ended_total", "end=\"acked\"", COUNTER, "Sends ended, by end.")
#define NACK_REASON(name, number, label, outcome, text) EDGE_METRIC(SENDS_NACKED_##name, "lahar_edge_sends_ended_total", "end=\"nacked\",reason=\"" label "\"", COUNTER, "Sends ended, by end.")
#include "proto/nack_reasons.h"
EDGE_METRIC(SENDS_UNKNOWN,    "lahar_edge_sends_ended_total", "end=\"unknown\"", COUNTER, "Sends ended, by end.")
EDGE_METRIC(SENDS_SHED,       "lahar_edge_sends_ended_total", "end=\"shed\"", COUNTER, "Sends ended, by end.")
EDGE_METRIC(SENDS_PASSED,     "lahar_edge_sends_ended_total", "end=\"passed_on\"", COUNTER, "Sends ended, by end.")
EDGE_METRIC(SENDS_REPEATED,   "lahar_edge_sends_ended_total", "end=\"repeated\"", COUNTER, "Sends ended, by end.")
EDGE_METRIC(ANSWERS_LATE,     "lahar_edge_answers_late_total", "", COUNTER, "Answers for sessions that had ended.")
EDGE_METRIC(SENDS_IN_FLIGHT,  "lahar_edge_sends_in_flight", "", GAUGE, "Sends without an answer yet, by walking the table.")
EDGE_METRIC(DELIVERIES,       "lahar_edge_deliveries_made_total", "", COUNTER, "Deliveries that came for a session. Ledger: equals the ends plus those in flight.")
EDGE_METRIC(DELIVERIES_ACKED, "lahar_edge_deliveries_ended_total", "end=\"acknowledged\"", COUNTER, "Deliveries ended, by end.")
EDGE_METRIC(DELIVERIES_PASSED,"lahar_edge_deliveries_ended_total", "end=\"passed_on\"", COUNTER, "Deliveries ended, by end.")
EDGE_METRIC(DELIVERIES_OLD,   "lahar_edge_deliveries_ended_total", "end=\"superseded\"", COUNTER, "Deliveries ended, by end.")
EDGE_METRIC(DROPPED_GAP,      "lahar_edge_deliveries_ended_total", "end=\"dropped\",reason=\"gap\"", COUNTER, "Deliveries ended, by end.")
EDGE_METRIC(DROPPED_EPOCH,    "lahar_edge_deliveries_ended_total", "end=\"dropped\",reason=\"stale_epoch\"", COUNTER, "Deliveries ended, by end.")
EDGE_METRIC(DROPPED_GONE,     "lahar_edge_deliveries_ended_total", "end=\"dropped\",reason=\"no_session\"", COUNTER, "Deliveries ended, by end.")
EDGE_METRIC(DROPPED_CLOSED,   "lahar_edge_deliveries_ended_total", "end=\"dropped\",reason=\"session_ended\"", COUNTER, "Deliveries ended, by end.")
EDGE_METRIC(DELIVERIES_IN_FLIGHT, "lahar_edge_deliveries_in_flight", "", GAUGE, "Deliveries not yet acknowledged by their client, by walking the table.")
EDGE_METRIC(GAPS_TOLD,        "lahar_edge_delivery_gaps_total", "", COUNTER, "DeliveryGap notices sent to owners.")
EDGE_METRIC(REROUTED,         "lahar_edge_rerouted_total", "", COUNTER, "Frames that a shard sent back as not its own, sent on.")
EDGE_METRIC(GIVEN_UP,         "lahar_edge_reroute_given_up_total", "", COUNTER, "Frames that a shard sent back and that were not sent on: too many hops, the owner is away, or nobody waits for them.")
EDGE_METRIC(SHARDS_UP,        "lahar_edge_shards_up", "", GAUGE, "Shards whose link is up.")
#define LINK_COUNT(name, help) EDGE_METRIC(LINK_##name, "lahar_link_" #name "_total", "", COUNTER, help)
#include "proto/link_counts.h"
// clang-format on
#undef EDGE_METRIC
