#include "tls_config.h"

#include "aead_speed.h"
#include "tls_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <mbedtls/error.h>
#include <mbedtls/version.h>

/* A key seals tickets for so long, and opens them for as long again: who steals both can read the
 * recorded TLS 1.2 connections of two hours. */
#define TICKET_LIFETIME_S 3600

/* ECDHE with AEAD, in either order: that which is the faster one here is first. */
#if MBEDTLS_VERSION_MAJOR >= 3
#define CHACHA_13 MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
#define AES_13    MBEDTLS_TLS1_3_AES_128_GCM_SHA256, MBEDTLS_TLS1_3_AES_256_GCM_SHA384,
#else
#define CHACHA_13
#define AES_13
#endif
#define CHACHA_12                                                                                  \
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,                                         \
        MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
#define AES_12                                                                                     \
    MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,                                               \
        MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,                                             \
        MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,                                           \
        MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,

static const int chacha_first[] = {CHACHA_13 AES_13 CHACHA_12 AES_12 0};
static const int aes_first[] = {AES_13 CHACHA_13 AES_12 CHACHA_12 0};

static const char *http_protocols[] = {"http/1.1", NULL};

/* ---- problems, for people ---- */

static const struct {
    int flag;
    const char *text;
} flaws[] = {
    {TLS_PROBLEM_PLAIN_HTTP, "HTTP without TLS on a TLS port"},
    {TLS_PROBLEM_WRONG_PIN, "the server's public key is not the pinned one"},
    {MBEDTLS_X509_BADCERT_MISSING, "the peer has no certificate"},
    {MBEDTLS_X509_BADCERT_EXPIRED, "the certificate has expired"},
    {MBEDTLS_X509_BADCERT_FUTURE, "the certificate is not valid yet"},
    {MBEDTLS_X509_BADCERT_REVOKED, "the certificate is revoked"},
    {MBEDTLS_X509_BADCERT_CN_MISMATCH, "the certificate is for another name"},
    {MBEDTLS_X509_BADCERT_NOT_TRUSTED, "the certificate is not signed by a trusted authority"},
    {MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK | MBEDTLS_X509_BADCERT_BAD_KEY,
     "the certificate uses weak cryptography"},
    {MBEDTLS_X509_BADCERT_KEY_USAGE | MBEDTLS_X509_BADCERT_EXT_KEY_USAGE |
         MBEDTLS_X509_BADCERT_NS_CERT_TYPE,
     "the certificate is for another use"},
};

void tls_config_describe(int native, struct text *out)
{
    char buffer[128];
    size_t known = 0;

    if (native < 0) {
        switch (native) {
        case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
            text_add(out, "the peer refused (TLS alert)");
            return;
        case MBEDTLS_ERR_SSL_INVALID_RECORD:
            text_add(out, "what came is not TLS");
            return;
        default:
            mbedtls_strerror(native, buffer, sizeof(buffer));
            text_addf(out, "%s", buffer);
            return;
        }
    }
    for (size_t i = 0; i < array_count(flaws); i++)
        if (native & flaws[i].flag)
            text_addf(out, "%s%s", known++ > 0 ? ", " : "", flaws[i].text);
    if (known == 0)
        text_add(out, "the certificate does not verify");
}

int tls_internal_fail_file(struct text *problem, const char *what, const char *file, int error)
{
    text_addf(problem, "%s %s: ", what, file);
    if (error == MBEDTLS_ERR_PK_FILE_IO_ERROR || error == MBEDTLS_ERR_X509_FILE_IO_ERROR)
        text_add(problem, "cannot be read");
    else if (error == MBEDTLS_ERR_PK_PASSWORD_REQUIRED)
        text_add(problem, "is encrypted (give one without a password)");
    else
        tls_config_describe(error, problem);
    return -EINVAL;
}

/* ---- the beginning and the end ---- */

static struct tls_config *config_new(bool is_server, struct text *problem)
{
    struct tls_config *c = calloc(1, sizeof(*c));

    if (c != NULL) {
        c->holders = 1;
        c->is_server = is_server;
        mbedtls_ssl_config_init(&c->ssl);
        mbedtls_x509_crt_init(&c->authorities);
        mbedtls_ssl_ticket_init(&c->tickets);
    }
    if (c == NULL || tls_library_set_up() != 0 ||
        mbedtls_ssl_config_defaults(
            &c->ssl, is_server ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT,
            MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT) != 0) {
        text_add(problem, "TLS could not be set up: out of memory");
        tls_config_free(c);
        return NULL;
    }
    tls_library_set_versions(&c->ssl);
    mbedtls_ssl_conf_rng(&c->ssl, tls_library_random, NULL);
    mbedtls_ssl_conf_ciphersuites(&c->ssl, aead_speed_prefers_chacha() ? chacha_first : aes_first);
    mbedtls_ssl_conf_renegotiation(&c->ssl, MBEDTLS_SSL_RENEGOTIATION_DISABLED);
    return c;
}

void tls_config_free(struct tls_config *c)
{
    if (c == NULL || --c->holders > 0)
        return;
    mbedtls_ssl_config_free(&c->ssl);
    mbedtls_ssl_ticket_free(&c->tickets);
    mbedtls_x509_crt_free(&c->authorities);
    tls_pair_free_all(c);
    free(c);
}

/* A bundle with a certificate that this library cannot read is still good for the others. */
static int load_authorities(struct tls_config *c, const char *file, struct text *problem)
{
    int error = mbedtls_x509_crt_parse_file(&c->authorities, file);
    if (error < 0 || c->authorities.raw.p == NULL)
        return tls_internal_fail_file(problem, "CA file", file,
                                      error < 0 ? error : MBEDTLS_ERR_X509_INVALID_FORMAT);
    mbedtls_ssl_conf_ca_chain(&c->ssl, &c->authorities, NULL);
    return 0;
}

static int refuse_setting(struct text *problem, int error)
{
    text_add(problem, "TLS could not be set up: ");
    tls_config_describe(error, problem);
    return -EINVAL;
}

/* ---- servers ---- */

static int ask_clients(struct tls_config *c, const struct tls_server_options *o,
                       struct text *problem)
{
    c->asks_clients = true;
    c->takes_clients_without = o->client_verify == TLS_CLIENT_OPTIONAL;
    if (c->takes_clients_without)
        mbedtls_ssl_conf_authmode(&c->ssl, MBEDTLS_SSL_VERIFY_OPTIONAL);
    else
        tls_library_require_certificate(&c->ssl);
    return load_authorities(c, o->client_ca_file, problem);
}

/* Not where clients prove who they are: a resumed session would be taken for a proof, and TLS 1.3
 * tickets do not hold the certificate. */
static int resume_sessions(struct tls_config *c)
{
    if (c->asks_clients || !tls_library_can_resume())
        return 0;
    int error = mbedtls_ssl_ticket_setup(&c->tickets, tls_library_random, NULL,
                                         MBEDTLS_CIPHER_AES_256_GCM, TICKET_LIFETIME_S);
    if (error == 0)
        mbedtls_ssl_conf_session_tickets_cb(&c->ssl, mbedtls_ssl_ticket_write,
                                            mbedtls_ssl_ticket_parse, &c->tickets);
    return error;
}

int tls_config_new_server(const struct tls_server_options *o, struct tls_config **out,
                          struct text *problem)
{
    struct tls_config *c = config_new(true, problem);

    assert(o->pair_count > 0 && o->pair_count <= TLS_PAIRS_MAX);
    if (c == NULL)
        return -ENOMEM;
    int status = tls_pair_load(c, o->pairs, o->pair_count, problem);
    if (status == 0 && o->client_ca_file != NULL)
        status = ask_clients(c, o, problem);
    if (status == 0) {
        int error = tls_pair_use_first(c);
        if (error == 0)
            error = mbedtls_ssl_conf_alpn_protocols(&c->ssl, http_protocols);
        if (error == 0)
            error = resume_sessions(c);
        if (error != 0)
            status = refuse_setting(problem, error);
    }
    if (status != 0) {
        tls_config_free(c);
        return status;
    }
    mbedtls_ssl_conf_sni(&c->ssl, tls_pair_choose, c);
    c->plain_answer = o->plain_answer;
    *out = c;
    return 0;
}

/* ---- clients ---- */

bool tls_config_is_pin(const char *text)
{
    uint8_t pin[CRYPTO_SHA256_SIZE];
    size_t len;
    return crypto_base64_decode(text, strlen(text), pin, sizeof(pin), &len) == 0 &&
           len == sizeof(pin);
}

int tls_config_new_client(const struct tls_client_options *o, struct tls_config **out,
                          struct text *problem)
{
    struct tls_config *c = config_new(false, problem);
    int status = 0;
    size_t len;

    if (c == NULL)
        return -ENOMEM;
    c->server_name = o->server_name;
    c->is_insecure = o->is_insecure;
    mbedtls_ssl_conf_authmode(&c->ssl, o->is_insecure ? MBEDTLS_SSL_VERIFY_OPTIONAL
                                                      : MBEDTLS_SSL_VERIFY_REQUIRED);
    mbedtls_ssl_conf_session_tickets(&c->ssl, MBEDTLS_SSL_SESSION_TICKETS_DISABLED);
    if (o->pin_sha256 != NULL) {
        c->has_pin = true;
        if (crypto_base64_decode(o->pin_sha256, strlen(o->pin_sha256), c->pin, sizeof(c->pin),
                                 &len) != 0 ||
            len != sizeof(c->pin)) {
            text_add(problem, "the pin is not the base64 of a SHA-256 digest");
            status = -EINVAL;
        }
    }
    if (status == 0 && !o->is_insecure)
        status = load_authorities(c, o->ca_file != NULL ? o->ca_file : TLS_SYSTEM_CA_FILE, problem);
    if (status == 0 && (o->pair.cert_file == NULL) != (o->pair.key_file == NULL)) {
        text_add(problem, "our certificate and its key: one is missing");
        status = -EINVAL;
    }
    if (status == 0 && o->pair.cert_file != NULL)
        status = tls_pair_load(c, &o->pair, 1, problem);
    if (status == 0) {
        int error = c->pair_count > 0 ? tls_pair_use_first(c) : 0;
        if (error == 0 && o->speaks_http)
            error = mbedtls_ssl_conf_alpn_protocols(&c->ssl, http_protocols);
        if (error != 0)
            status = refuse_setting(problem, error);
    }
    if (status != 0) {
        tls_config_free(c);
        return status;
    }
    *out = c;
    return 0;
}
