/* chat_body: what the bodies of messages mean to the chat. To the cluster they are opaque.
 *
 * A body is a message: UTF-8 text. One exception: with class EPHEMERAL a body that begins with the
 * byte 0x01 is a mark. 0x01 't': the sender is typing; it is good for CHAT_BODY_TYPING_MS, and said
 * again every CHAT_BODY_REPEAT_MS while that is so. 0x01 's': the sender stopped (a message says
 * that too). All other marks, and what follows these two bytes, are for later versions: ignored.
 */
#ifndef CLI_CHAT_BODY_H
#define CLI_CHAT_BODY_H

#include "base/span.h"
#include "client/lahar.h"

#define CHAT_BODY_TYPING_MS 6000u
#define CHAT_BODY_REPEAT_MS 3000u
#define CHAT_BODY_TYPING "\001t"
#define CHAT_BODY_STOPPED "\001s"

enum chat_body { CHAT_BODY_TEXT, CHAT_BODY_IS_TYPING, CHAT_BODY_HAS_STOPPED, CHAT_BODY_IGNORED };

static inline enum chat_body chat_body_kind(enum lahar_class message_class, struct span body)
{
    if (message_class != LAHAR_EPHEMERAL || body.len == 0 || body.at[0] != 1)
        return CHAT_BODY_TEXT;
    uint8_t kind = body.len > 1 ? body.at[1] : 0;
    return kind == 't'   ? CHAT_BODY_IS_TYPING
           : kind == 's' ? CHAT_BODY_HAS_STOPPED
                         : CHAT_BODY_IGNORED;
}

#endif
