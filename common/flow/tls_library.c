#include "tls_internal.h"

#include <errno.h>

#include <mbedtls/version.h>
#if MBEDTLS_VERSION_MAJOR >= 3
#include <psa/crypto.h>
#endif

int tls_library_random(void *context, unsigned char *out, size_t len)
{
    (void)context;
    return crypto_random(out, len) == 0 ? 0 : MBEDTLS_ERR_SSL_INTERNAL_ERROR;
}

#if MBEDTLS_VERSION_MAJOR >= 3

int tls_library_set_up(void)
{
    return psa_crypto_init() == PSA_SUCCESS ? 0 : -EIO;
}

/* TLS 1.3 resumes with a new key exchange only: without one, who steals the ticket key can read
 * what was recorded. */
void tls_library_set_versions(mbedtls_ssl_config *ssl)
{
    mbedtls_ssl_conf_min_tls_version(ssl, MBEDTLS_SSL_VERSION_TLS1_2);
    mbedtls_ssl_conf_tls13_key_exchange_modes(ssl,
                                              MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_EPHEMERAL_ALL);
}

/* A client refused by mbedTLS 3.6.6 itself in TLS 1.3 is told so with the keys of the handshake,
 * when it reads with the next ones already: to it that is a bad record. So it is let through to
 * tls_peer_check(). */
void tls_library_require_certificate(mbedtls_ssl_config *ssl)
{
    mbedtls_ssl_conf_authmode(ssl, MBEDTLS_SSL_VERIFY_OPTIONAL);
}

/* Before 3.6.6 who sits in between could turn a TLS 1.3 resumption into one of TLS 1.2 whose secret
 * he knows (CVE-2026-34873). */
bool tls_library_can_resume(void)
{
    return mbedtls_version_get_number() >= 0x03060600;
}

int tls_library_parse_key(mbedtls_pk_context *key, const char *file)
{
    return mbedtls_pk_parse_keyfile(key, file, NULL, tls_library_random, NULL);
}

int tls_library_check_pair(const mbedtls_pk_context *public, const mbedtls_pk_context *key)
{
    return mbedtls_pk_check_pair(public, key, tls_library_random, NULL);
}

bool tls_library_is_joined(const mbedtls_x509_name *part)
{
    mbedtls_x509_name *next = mbedtls_x509_dn_get_next((mbedtls_x509_name *)(uintptr_t)part);
    return next != part->next;
}

#else

/* SHA-1 is allowed by default for what the handshake signs (TLS 1.2). */
static const int hashes[] = {MBEDTLS_MD_SHA256, MBEDTLS_MD_SHA384, MBEDTLS_MD_SHA512,
                             MBEDTLS_MD_NONE};

/* The order is the server's: by default the largest curve is taken, at twice the
 * cost. */
static const mbedtls_ecp_group_id curves[] = {MBEDTLS_ECP_DP_SECP256R1, MBEDTLS_ECP_DP_CURVE25519,
                                              MBEDTLS_ECP_DP_SECP384R1, MBEDTLS_ECP_DP_SECP521R1,
                                              MBEDTLS_ECP_DP_NONE};

int tls_library_set_up(void)
{
    return 0;
}

void tls_library_set_versions(mbedtls_ssl_config *ssl)
{
    mbedtls_ssl_conf_min_version(ssl, MBEDTLS_SSL_MAJOR_VERSION_3, MBEDTLS_SSL_MINOR_VERSION_3);
    mbedtls_ssl_conf_sig_hashes(ssl, hashes);
    mbedtls_ssl_conf_curves(ssl, curves);
}

void tls_library_require_certificate(mbedtls_ssl_config *ssl)
{
    mbedtls_ssl_conf_authmode(ssl, MBEDTLS_SSL_VERIFY_REQUIRED);
}

bool tls_library_can_resume(void)
{
    return true;
}

int tls_library_parse_key(mbedtls_pk_context *key, const char *file)
{
    return mbedtls_pk_parse_keyfile(key, file, NULL);
}

int tls_library_check_pair(const mbedtls_pk_context *public, const mbedtls_pk_context *key)
{
    return mbedtls_pk_check_pair(public, key);
}

bool tls_library_is_joined(const mbedtls_x509_name *part)
{
    return part->next_merged != 0;
}

#endif
