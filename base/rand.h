/* rand: randomness from the kernel (getrandom). Dies when there is none. Not for pure cores: they
 * are given theirs. */
#ifndef BASE_RAND_H
#define BASE_RAND_H

#include "base/span.h"

void rand_bytes(void *at, size_t len);
uint64_t rand_u64(void);

#endif
