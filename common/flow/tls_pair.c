/* Certificates of ours with their keys, and which of them a peer is shown. */
#include "tls_duplex_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <mbedtls/oid.h>

#define HOST_MAX 255

/* ---- files ---- */

/* mbedTLS would refuse each handshake, and tell nobody why. A client's is judged by its server. */
static bool is_for_servers(const mbedtls_x509_crt *cert)
{
    static const char oid[] = MBEDTLS_OID_SERVER_AUTH;
    return mbedtls_x509_crt_check_extended_key_usage(cert, oid, sizeof(oid) - 1) == 0;
}

static int load(struct tls_pair *pair, const struct tls_pair_files *files, bool is_server,
                struct text *problem)
{
    int error = mbedtls_x509_crt_parse_file(&pair->chain, files->cert_file);

    if (error > 0) {
        text_addf(problem, "certificate %s: holds something that is none", files->cert_file);
        return -EINVAL;
    }
    if (error != 0)
        return tls_internal_fail_file(problem, "certificate", files->cert_file, error);
    if (is_server && !is_for_servers(&pair->chain)) {
        text_addf(problem, "certificate %s: is not for servers (extended key usage)",
                  files->cert_file);
        return -EINVAL;
    }
    error = tls_library_parse_key(&pair->key, files->key_file);
    if (error != 0)
        return tls_internal_fail_file(problem, "key", files->key_file, error);
    if (tls_library_check_pair(&pair->chain.pk, &pair->key) != 0) {
        text_addf(problem, "key %s: is not that of the first certificate in %s", files->key_file,
                  files->cert_file);
        return -EINVAL;
    }
    return 0;
}

int tls_pair_load(struct tls_config *c, const struct tls_pair_files *files, size_t count,
                  struct text *problem)
{
    int status = 0;

    c->pairs = calloc(count, sizeof(*c->pairs));
    if (c->pairs == NULL) {
        text_add(problem, "TLS could not be set up: out of memory");
        return -ENOMEM;
    }
    for (size_t i = 0; i < count && status == 0; i++) {
        mbedtls_x509_crt_init(&c->pairs[i].chain);
        mbedtls_pk_init(&c->pairs[i].key);
        c->pair_count++;
        status = load(&c->pairs[i], &files[i], c->is_server, problem);
    }
    return status;
}

void tls_pair_free_all(struct tls_config *c)
{
    for (size_t i = 0; i < c->pair_count; i++) {
        mbedtls_x509_crt_free(&c->pairs[i].chain);
        mbedtls_pk_free(&c->pairs[i].key);
    }
    free(c->pairs);
}

size_t tls_config_pair_count(const struct tls_config *config)
{
    return config == NULL ? 0 : config->pair_count;
}

static uint64_t seconds(const mbedtls_x509_time *t)
{
    struct tm tm = {
        .tm_year = t->year - 1900,
        .tm_mon = t->mon - 1,
        .tm_mday = t->day,
        .tm_hour = t->hour,
        .tm_min = t->min,
        .tm_sec = t->sec,
    };
    time_t at = timegm(&tm);

    return at > 0 ? (uint64_t)at : 0;
}

uint64_t tls_config_not_after(const struct tls_config *config, size_t n)
{
    uint64_t first = UINT64_MAX;

    for (const mbedtls_x509_crt *cert = &config->pairs[n].chain; cert != NULL; cert = cert->next) {
        uint64_t at = seconds(&cert->valid_to);
        if (at < first)
            first = at;
    }
    return first;
}

/* ---- which one ---- */

/* The first DNS name of the certificate, "" if it has none. */
static void first_name(const mbedtls_x509_crt *cert, char host[HOST_MAX + 1])
{
    host[0] = '\0';
    for (const mbedtls_x509_sequence *san = &cert->subject_alt_names; san != NULL;
         san = san->next) {
        bool is_name = (san->buf.tag & MBEDTLS_ASN1_TAG_VALUE_MASK) == TLS_SAN_DNS;
        if (!is_name || san->buf.p == NULL || san->buf.len > HOST_MAX)
            continue;
        memcpy(host, san->buf.p, san->buf.len);
        host[san->buf.len] = '\0';
        return;
    }
}

int tls_pair_use_first(struct tls_config *c)
{
    char host[HOST_MAX + 1];

    first_name(&c->pairs[0].chain, host);
    for (size_t i = 0; i < c->pair_count; i++) {
        if (i > 0 && !tls_peer_has_name(&c->pairs[i].chain, host))
            continue;
        int error = mbedtls_ssl_conf_own_cert(&c->ssl, &c->pairs[i].chain, &c->pairs[i].key);
        if (error != 0)
            return error;
    }
    return 0;
}

/* The name counts once: a hello with a thousand of them would make a list of a thousand times all
 * pairs, and mbedTLS walks it to its end for each (0.6 s with 32 pairs, 2.28.3). */
int tls_pair_choose(void *context, mbedtls_ssl_context *ssl, const unsigned char *name, size_t len)
{
    const struct tls_config *c = context;
    struct tls_duplex *t = container_of(ssl, struct tls_duplex, ssl);
    char host[HOST_MAX + 1];

    if (t->has_peer_asked || len > HOST_MAX || memchr(name, '\0', len) != NULL)
        return 0;
    t->has_peer_asked = true;
    memcpy(host, name, len);
    host[len] = '\0';
    for (size_t i = 0; i < c->pair_count; i++) {
        if (!tls_peer_has_name(&c->pairs[i].chain, host))
            continue;
        int error = mbedtls_ssl_set_hs_own_cert(ssl, &c->pairs[i].chain, &c->pairs[i].key);
        if (error != 0)
            return error;
    }
    return 0;
}
