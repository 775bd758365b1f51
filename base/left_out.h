/* left_out: lets a test leave one part of a rule out, to see that the test would notice.
 *
 * Only objects compiled with LAHAR_LEAVE_OUT (those of tests/sim) can leave anything out; in all
 * others LEFT_OUT is the constant false. The parts are those of the order rule and of
 * tickets (design, section 4).
 */
#ifndef BASE_LEFT_OUT_H
#define BASE_LEFT_OUT_H

enum left_out {
    LEFT_OUT_NOTHING,
    LEFT_OUT_DSEQ,    /* the edge lets any delivery through */
    LEFT_OUT_SEQ,     /* the owner takes sends as they come */
    LEFT_OUT_BUSY,    /* BUSY counts as taken, and the library sends the message anew */
    LEFT_OUT_EPOCH,   /* deliveries of an earlier owner are let through */
    LEFT_OUT_SKIP,    /* what expired leaves a hole instead of an empty delivery */
    LEFT_OUT_CASCADE, /* only the oldest delivery expires, and those behind it go on */
    LEFT_OUT_RESET,   /* after an expiry the owner goes on counting from where it was */
    LEFT_OUT_DAMPING, /* every gap notice is answered, also one for a place gone back to already */
    LEFT_OUT_BAR,     /* an announced session is believed though it was ended by a kick */
};

#ifdef LAHAR_LEAVE_OUT
extern enum left_out left_out;
#define LEFT_OUT(part) (left_out == LEFT_OUT_##part)
#else
#define LEFT_OUT(part) 0
#endif

#endif
