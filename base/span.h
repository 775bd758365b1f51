/* span: a borrowed view of somebody else's bytes. Never stored, never freed. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MUST_CHECK __attribute__((warn_unused_result))
/* For a big local of which little is used, and that little is written first: release builds clear
 * locals (-ftrivial-auto-var-init), which for this one would cost more than its use. */
#define UNINITIALIZED __attribute__((uninitialized))

struct span {
    const uint8_t *at;
    size_t len;
};

static inline struct span span_of(const void *at, size_t len)
{
    return (struct span){at, len};
}

static inline struct span span_text(const char *text)
{
    return (struct span){(const uint8_t *)text, strlen(text)};
}

static inline struct span span_upto(struct span span, size_t len)
{
    assert(len <= span.len);
    return (struct span){span.at, len};
}

static inline struct span span_after(struct span span, size_t len)
{
    assert(len <= span.len);
    /* Of an empty span at NULL nothing may be added, not even 0. */
    return (struct span){len == 0 ? span.at : span.at + len, span.len - len};
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

#endif
