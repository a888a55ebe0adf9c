/* Where a request has its token: in `Authorization: Bearer TOKEN`, or, because a page can set no
 * field, in an entry of `Sec-WebSocket-Protocol`:
 *
 *     new WebSocket(url, ['v1.tidegate', 'base64url.bearer.authorization.tidegate.' +
 * base64url(token)])
 *
 * with the token's bytes in base64url without padding. The server never answers that entry
 * (ws_handshake.h knows it as little as any other one that is not its own). So a page must offer
 * `v1.tidegate` or `binary` beside it: a browser gives up a connection where none of what it
 * offered is answered. Programs may offer it alone.
 *
 * Of the token only its hash leaves this file. */
#ifndef TIDEGATE_CREDENTIALS_H
#define TIDEGATE_CREDENTIALS_H

#include "crypto.h"
#include "ws_head.h"

#define CREDENTIALS_SUBPROTOCOL "base64url.bearer.authorization.tidegate."

enum credentials_result {
    CREDENTIALS_NONE,  /* no token: 401 where one is needed. Other schemes are not looked at */
    CREDENTIALS_GIVEN, /* `digest` is its SHA-256, for token_file_find; an empty token has one, too
                        */
    CREDENTIALS_MALFORMED, /* 400 with `*problem`: no token, or not one (RFC 6750 3.1) */
    CREDENTIALS_NO_MEMORY  /* 503 */
};

/* Looks for it in a complete request. Two Authorization fields, two entries, or one of each with
 * different tokens are malformed: of two, somebody else on the way may have judged the other.
 * `*problem` is static and says nothing of what was presented. */
enum credentials_result credentials_read(struct ws_head *request,
                                         uint8_t digest[CRYPTO_SHA256_SIZE], const char **problem);

#endif
