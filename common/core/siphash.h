/* SipHash-2-4 (Aumasson and Bernstein, 2012): a short hash with a key. Who does not know the key
 * cannot choose inputs that fall together, which is what a table of peers' addresses needs. */
#ifndef TIDEGATE_SIPHASH_H
#define TIDEGATE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

#define SIPHASH_KEY_SIZE 16

uint64_t siphash(const uint8_t key[SIPHASH_KEY_SIZE], const void *data, size_t len);

#endif
