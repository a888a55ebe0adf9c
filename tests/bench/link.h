/* One connection of the load generator: TCP, or TLS (OpenSSL) on it. Set up blocking, used
 * non-blocking. Failures of the set-up end the program: a bench has nothing to save. */
#ifndef TIDEGATE_BENCH_LINK_H
#define TIDEGATE_BENCH_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <openssl/ssl.h>

#define LINK_LATER (-1) /* nothing to read, or no room */
#define LINK_OVER  (-2) /* ended or broken */

struct link {
    int fd;
    SSL *ssl; /* NULL: TCP */
};

/* Prints and ends the program. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* For TLS links. `cipher` is OpenSSL's name of a TLS 1.2 suite, or of a TLS 1.3 one (TLS_...), and
 * decides the version; NULL: what both sides like best. No certificate is checked. */
SSL_CTX *link_tls(const char *cipher);

/* `address` is HOST:PORT, HOST a number. `tls` may be NULL. Still blocking. */
struct link link_connect(const char *address, SSL_CTX *tls);

/* The same, non-blocking from when TCP is connected: the first reads and writes do the TLS
 * handshake. */
struct link link_connect_later(const char *address, SSL_CTX *tls);

/* Accepts, non-blocking; false if nobody waits. */
bool link_accept(int listener, struct link *out);

void link_set_nonblocking(const struct link *l);

/* Bytes, LINK_LATER or LINK_OVER. */
ssize_t link_read(struct link *l, uint8_t *buffer, size_t size);
ssize_t link_write(struct link *l, const uint8_t *data, size_t len);

/* Reads up to `size` bytes to nowhere, which costs no copy. TCP alone. */
ssize_t link_skip(struct link *l, size_t size);

/* All of it or the end of the program; for the set-up. */
void link_write_all(struct link *l, const uint8_t *data, size_t len);

/* Ends our direction: close_notify and FIN. */
void link_end(struct link *l);

/* Resets it: nobody should spend time on an orderly end. */
void link_close(struct link *l);

#endif
