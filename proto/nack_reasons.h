/* Every reason why a send is refused, once: enum, wire number, label, and what it says about the
 * message. DEFINITE: it was neither kept nor delivered, and will not be unless it is sent again.
 * UNKNOWN: it may have arrived. Numbers are for ever.
 *
 *      name         number label          outcome   what it means */
// clang-format off
NACK_REASON(BUSY,        1, "busy",        DEFINITE, "past capacity, or a part of the cluster is away; send again after retry_after_ms")
NACK_REASON(SEQ_GAP,     2, "seq_gap",     DEFINITE, "an earlier send of this conversation is missing; send again from expected_seq")
NACK_REASON(UNSUPPORTED, 3, "unsupported", DEFINITE, "this cluster does not offer that class or that kind of recipient")
NACK_REASON(OFFLINE,     4, "offline",     DEFINITE, "no device of the recipient is connected")
NACK_REASON(NO_ANSWER,   5, "no_answer",   UNKNOWN,  "it went out, and no device acknowledged it in time")
NACK_REASON(NO_USER,     6, "no_user",     DEFINITE, "that GID was never handed out")
NACK_REASON(TOO_BIG,     7, "too_big",     DEFINITE, "the body is over the limit")
NACK_REASON(FORBIDDEN,   8, "forbidden",   DEFINITE, "the recipient or the site does not allow it")
NACK_REASON(QUOTA,       9, "quota",       DEFINITE, "the recipient's mailbox is full")
// clang-format on
#undef NACK_REASON
