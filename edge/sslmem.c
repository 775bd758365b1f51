#include "edge/sslmem.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* jemalloc's class around the size of an SSL object; objects get the least of its sizes asked for
 * first, which is that of SSL. */
#define SIZE_MIN 7168u
#define SIZE_MAX_PACKED 8192u
#define ALIGNMENT 16u
#define BLOCK_BYTES (1024u * 1024u)
/* Addresses only: room for two million objects. */
#define RANGE_BYTES (UINT64_C(16) << 30)

struct object {
    struct object *next;
};

static uint8_t *range; /* NULL: not in use */
static atomic_size_t object_bytes;
static atomic_size_t range_taken;

static _Thread_local struct {
    struct object *free;
    uint8_t *next, *end; /* of the block that is being cut */
} own;

static bool is_packed(const void *at)
{
    return range != NULL && (uintptr_t)at - (uintptr_t)range < RANGE_BYTES;
}

/* The size of all objects is that of the first; 0: this one does not fit. */
static size_t fitting(size_t size)
{
    if (range == NULL || size <= SIZE_MIN || size > SIZE_MAX_PACKED)
        return 0;
    size_t wanted = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT, none = 0;
    if (atomic_compare_exchange_strong(&object_bytes, &none, wanted))
        return wanted;
    return none >= wanted ? none : 0;
}

static void *take_packed(size_t size)
{
    struct object *object = own.free;
    if (object != NULL) {
        own.free = object->next;
        return object;
    }
    if ((size_t)(own.end - own.next) < size) {
        size_t at = atomic_fetch_add(&range_taken, BLOCK_BYTES);
        if (at + BLOCK_BYTES > RANGE_BYTES)
            return NULL;
        own.next = range + at;
        own.end = own.next + BLOCK_BYTES;
    }
    void *taken = own.next;
    own.next += size;
    return taken;
}

static void *take(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    size_t fits = fitting(size);
    void *taken = fits == 0 ? NULL : take_packed(fits);
    return taken != NULL ? taken : malloc(size);
}

static void give(void *at, const char *file, int line)
{
    (void)file, (void)line;
    if (!is_packed(at)) {
        free(at);
        return;
    }
    struct object *object = at;
    object->next = own.free;
    own.free = object;
}

static void *retake(void *at, size_t size, const char *file, int line)
{
    if (size == 0) { /* of which realloc would make something that nobody frees */
        give(at, file, line);
        return NULL;
    }
    if (!is_packed(at))
        return realloc(at, size);
    void *taken = take(size, file, line);
    if (taken == NULL)
        return NULL;
    size_t all = atomic_load(&object_bytes);
    memcpy(taken, at, size < all ? size : all);
    give(at, file, line);
    return taken;
}

void sslmem_init(void)
{
    assert(range == NULL);
    void *at = mmap(NULL, RANGE_BYTES, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return;
    if (CRYPTO_set_mem_functions(take, retake, give) != 1) {
        munmap(at, RANGE_BYTES);
        return;
    }
    /* Huge pages would make objects resident that nobody has yet. */
    (void)madvise(at, RANGE_BYTES, MADV_NOHUGEPAGE);
    range = at;
}
