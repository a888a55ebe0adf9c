/* Which AEAD is the faster one here. It depends on the processor and on how the library was built:
 * AES has instructions of its own on most, ChaCha20 is quick everywhere.
 *
 * Like crypto.h, a file that calls mbedTLS. */
#ifndef TIDEGATE_AEAD_SPEED_H
#define TIDEGATE_AEAD_SPEED_H

#include <stdbool.h>
#include <stdint.h>

/* Nanoseconds of processor time to seal 16 KiB, the best of several runs; 0 if it could not be
 * measured. */
struct aead_speed {
    uint64_t chacha20_poly1305_ns, aes_128_gcm_ns;
};

/* Takes a millisecond or two. */
void aead_speed_measure(struct aead_speed *out);

/* Measures at the first call in a process; what comes of it is logged at the debug level. Also if
 * nothing could be measured: what is quick on every processor. Any thread. */
bool aead_speed_prefers_chacha(void);

#endif
