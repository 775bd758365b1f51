/* sslmem: memory for OpenSSL in which its SSL objects lie packed.
 *
 * An SSL object is 7.6 KB, for which jemalloc takes 8 KB and an extent of its own: with a million
 * idle clients that is 0.7 GB. Here objects of that size class are cut from blocks of 1 MiB and
 * kept for reuse; everything else comes from malloc.
 *
 * OpenSSL's hooks carry no context, so this is one of the few places with state of its own: an
 * address range, and a list of free objects for each thread. What one thread frees of another's it
 * keeps.
 */
#ifndef EDGE_SSLMEM_H
#define EDGE_SSLMEM_H

/* Once, before anything else of OpenSSL, and before there are threads. Without it, or if the kernel
 * has no addresses to give, all comes from malloc. */
void sslmem_init(void);

#endif
