/* Whether a peer is believed. mbedTLS checks the chain and the use; what it checks of names differs
 * between its versions (2.28 knows no IP addresses), so that is done here. */
#include "tls_internal.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#define ALERT_CERTIFICATE_REQUIRED 116 /* RFC 8446 section 6.2 */

bool tls_peer_is_address(const char *name)
{
    uint8_t bytes[16];
    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static bool is_equal(const uint8_t *a, size_t a_len, const char *b, size_t b_len)
{
    return a_len == b_len && strncasecmp((const char *)a, b, b_len) == 0 &&
           memchr(a, '\0', a_len) == NULL;
}

/* RFC 6125 section 6.4.3: a wildcard is the whole leftmost label, and stands for one. */
static bool is_dns_match(const uint8_t *san, size_t len, const char *name, size_t name_len)
{
    if (is_equal(san, len, name, name_len))
        return true;
    const char *dot = memchr(name, '.', name_len);
    if (len < 3 || san[0] != '*' || san[1] != '.' || dot == NULL || dot == name)
        return false;
    size_t rest = name_len - (size_t)(dot - name);
    return memchr(dot + 1, '.', rest - 1) != NULL && is_equal(san + 1, len - 1, dot, rest);
}

static bool has_address(const mbedtls_x509_sequence *san, const uint8_t *bytes, size_t len)
{
    for (; san != NULL; san = san->next)
        if ((san->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK) == TLS_SAN_ADDRESS &&
            san->buf.len == len && memcmp(san->buf.p, bytes, len) == 0)
            return true;
    return false;
}

bool tls_peer_has_name(const mbedtls_x509_crt *cert, const char *name)
{
    uint8_t address[16];
    const mbedtls_x509_sequence *san = &cert->subject_alt_names;

    if (inet_pton(AF_INET, name, address) == 1)
        return has_address(san, address, 4);
    if (inet_pton(AF_INET6, name, address) == 1)
        return has_address(san, address, 16);
    size_t len = strlen(name);
    if (len > 0 && name[len - 1] == '.')
        len--;
    for (; len > 0 && san != NULL; san = san->next)
        if ((san->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK) == TLS_SAN_DNS && san->buf.p != NULL &&
            is_dns_match(san->buf.p, san->buf.len, name, len))
            return true;
    return false;
}

static bool has_pin(const struct tls_config *config, const mbedtls_x509_crt *cert)
{
    uint8_t digest[CRYPTO_SHA256_SIZE];
    struct crypto_sha256 *h = crypto_sha256_new();

    if (h == NULL)
        return false;
    crypto_sha256_update(h, cert->pk_raw.p, cert->pk_raw.len);
    crypto_sha256_finish(h, digest);
    return memcmp(digest, config->pin, sizeof(digest)) == 0;
}

static int check_server(const struct tls_config *config, const mbedtls_x509_crt *cert,
                        const char *name)
{
    if (config->has_pin && (cert == NULL || !has_pin(config, cert)))
        return TLS_PROBLEM_WRONG_PIN;
    if (!config->is_insecure && (cert == NULL || !tls_peer_has_name(cert, name)))
        return TLS_PROBLEM_WRONG_NAME;
    return 0;
}

/* Where mbedTLS takes a certificate for optional it lets a bad one pass, too. */
static int check_client(const struct tls_config *config, const mbedtls_ssl_context *ssl)
{
    if (!config->asks_clients)
        return 0;
    if (mbedtls_ssl_get_peer_cert(ssl) == NULL)
        return config->takes_clients_without ? 0 : MBEDTLS_X509_BADCERT_MISSING;
    return (int)(mbedtls_ssl_get_verify_result(ssl) & INT32_MAX);
}

static unsigned char alert_for(const mbedtls_ssl_context *ssl, int problem)
{
    if (problem != MBEDTLS_X509_BADCERT_MISSING)
        return MBEDTLS_SSL_ALERT_MSG_BAD_CERT;
    return strcmp(mbedtls_ssl_get_version(ssl), "TLSv1.3") == 0
               ? ALERT_CERTIFICATE_REQUIRED
               : MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE;
}

int tls_peer_check(const struct tls_config *config, mbedtls_ssl_context *ssl, const char *name)
{
    int problem = config->is_server ? check_client(config, ssl)
                                    : check_server(config, mbedtls_ssl_get_peer_cert(ssl), name);

    if (problem != 0)
        mbedtls_ssl_send_alert_message(ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert_for(ssl, problem));
    return problem;
}

/* A certificate for another use is a bad message to mbedTLS, one that does not verify is not. A
 * client without one is not told, and would take it for a lost connection. */
int tls_peer_why(mbedtls_ssl_context *ssl, int error)
{
    uint32_t flags = mbedtls_ssl_get_verify_result(ssl);

    if (error == MBEDTLS_ERR_SSL_NO_CLIENT_CERTIFICATE) {
        mbedtls_ssl_send_alert_message(ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL,
                                       alert_for(ssl, MBEDTLS_X509_BADCERT_MISSING));
        return MBEDTLS_X509_BADCERT_MISSING;
    }
    if ((error == MBEDTLS_ERR_X509_CERT_VERIFY_FAILED || error == TLS_ERROR_BAD_CERTIFICATE) &&
        flags != 0 && flags != UINT32_MAX)
        return (int)(flags & INT32_MAX);
    return error;
}
