/* What a link counts, once: the struct, the metric and its help. The ledger between processes that
 * live: all frames_sent + frames_dropped are all frames_received + frames_lost + frames_stale, once
 * the next head has told of the last loss.
 *
 *         name              help */
// clang-format off
LINK_COUNT(frames_sent,      "Frames given to ZeroMQ.")
LINK_COUNT(frames_received,  "Frames received and handed on.")
LINK_COUNT(frames_lost,      "Frames that the peer sent and that never came (gaps in its count).")
LINK_COUNT(frames_stale,     "Frames meant for another incarnation, dropped.")
LINK_COUNT(frames_dropped,   "Frames dropped before sending; the peer counts them as lost.")
LINK_COUNT(frames_unsent,    "Frames that still waited when the incarnation of either end ended.")
LINK_COUNT(batches_sent,     "ZeroMQ messages sent.")
LINK_COUNT(batches_received, "ZeroMQ messages received.")
LINK_COUNT(bytes_sent,       "Bytes of batches sent.")
LINK_COUNT(bytes_received,   "Bytes of batches received.")
LINK_COUNT(batches_bad,      "Batches that could not be read, or whose role was wrong, dropped.")
LINK_COUNT(send_again,       "Times that ZeroMQ had no room (EAGAIN); tried again later.")
LINK_COUNT(unreachable,      "Times that a peer was not connected (EHOSTUNREACH).")
LINK_COUNT(no_credit,        "Frames refused to the caller for want of credit.")
LINK_COUNT(peer_away,        "Frames refused to the caller because the peer was not up.")
LINK_COUNT(handshakes_refused, "Handshakes that a peer refused, or that we refused to a peer.")
LINK_COUNT(peers_up,         "Times that a peer came up.")
LINK_COUNT(peers_down,       "Times that a peer went down.")
// clang-format on
#undef LINK_COUNT
