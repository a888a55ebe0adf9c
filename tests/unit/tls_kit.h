/* What the tests of TLS share: a client and a server over a network in memory, owners that record
 * what they are told, and certificates. */
#ifndef TIDEGATE_TLS_KIT_H
#define TIDEGATE_TLS_KIT_H

#include "memory_pipe.h"
#include "tls_certs.h"
#include "tls_duplex.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { CLIENT, SERVER };

/* The owner of a TLS duplex, or of the bare transport: what it was told. */
struct side {
    struct duplex *duplex;
    char told[256];          /* "OPEN;DRAIN;" */
    uint64_t sent, received; /* of a sequence that both know */
    bool is_over, has_wrong_bytes, pauses_at_data;
    struct cause cause;
    uint8_t raw[4096]; /* the first bytes, as they came */
};

extern struct tls_kit {
    struct scheduler scheduler;
    struct memory_pipe wire;
    struct side side[2];
    struct tls_certs certs;
    /* The usual ones: a server with `good`, a client that knows `ca`. */
    struct tls_config *configs[2];
    struct tls_duplex_options options[2];
} kit;

extern const char kit_answer[]; /* to HTTP without TLS */
extern const struct duplex_events kit_events;

/* For cmocka: the certificates, and the usual configurations. */
int kit_set_up(void **state);
int kit_tear_down(void **state);

/* Others in place of the usual ones; NULL: stays. Until kit_configure_usual(). */
void kit_configure(const struct tls_client_options *client,
                   const struct tls_server_options *server);
void kit_configure_usual(void);

/* A network; each side is then opened with kit_open_tls(), or owned as it is. */
void kit_open_wire(void);
void kit_own(int which, struct duplex *d);
void kit_open_tls(int which); /* with kit.options, kit.configs */

/* A network and both sides with TLS; and the handshake. */
void kit_open_both(void);
void kit_open_and_shake(void);

/* Whatever is still open is aborted, so that leaks are the program's own. */
void kit_end(void);

/* Until nothing moves; at most `max` bytes at a time. */
void kit_flow_by(size_t max);
void kit_flow(void);

void kit_on_open(void *owner);
uint8_t kit_byte_at(uint64_t position);                     /* of the sequence */
void kit_write_raw(int from, const void *data, size_t len); /* on the wire; 1024 at most */
void side_send(struct side *s, size_t n);                   /* more of the sequence */
bool side_has_whole(const struct side *from, const struct side *to);
/* That it was aborted for TLS, and why, for people. */
void side_check_problem(const struct side *s, const char *expected);
void side_close(struct side *s);
void side_abort(struct side *s);

#endif
