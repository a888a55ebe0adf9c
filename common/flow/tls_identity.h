/* Who the peer of an open TLS duplex is, by its certificate. Only a certificate that was verified
 * counts: without one, or where nothing is checked (is_insecure), nobody is known.
 *
 * What a certificate says is a peer's text. In what is made of it here everything but printable
 * ASCII is spelt \XX, and so are, with a backslash, the characters that the form itself needs. What
 * does not fit ends in "...", in place of whole items: no item is ever cut, and no item is "...".
 */
#ifndef TIDEGATE_TLS_IDENTITY_H
#define TIDEGATE_TLS_IDENTITY_H

#include "duplex.h"
#include "text.h"

#include <stdbool.h>

bool tls_identity_is_known(const struct duplex *d);

/* Appends the subject, as RFC 4514 has it ("CN=alice,O=example"), or nothing if nobody is known. It
 * may be empty. `out` has room for five bytes at least. */
void tls_identity_subject(const struct duplex *d, struct text *out);

/* Appends the common name of the subject, the first if there are several, bare: any bytes. Nothing
 * if nobody is known, or it has none, or one in wide characters. */
void tls_identity_common_name(const struct duplex *d, struct text *out);

/* "TLSv1.2", of an open TLS duplex, whoever the peer is. Static. */
const char *tls_identity_version(const struct duplex *d);

/* Appends the subject alternative names, joined with ",": DNS:..., URI:..., IP:..., email:...;
 * other kinds are left out. */
void tls_identity_names(const struct duplex *d, struct text *out);

/* Whether the peer has that name, written as above but without backslashes ("URI:spiffe://a/b").
 * DNS names are compared without regard to case, and a wildcard is nothing but itself; IP addresses
 * by value; the others byte by byte. */
bool tls_identity_has_name(const struct duplex *d, const char *name);

#endif
