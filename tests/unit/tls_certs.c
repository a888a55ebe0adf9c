#include "tls_certs.h"

#include "crypto.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mbedtls/ecp.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/version.h>
#include <mbedtls/x509_crt.h>
#if MBEDTLS_VERSION_MAJOR >= 3
#include <psa/crypto.h>
#endif

static int take_random(void *context, unsigned char *out, size_t len)
{
    (void)context;
    return crypto_random(out, len) == 0 ? 0 : -1;
}

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    bool is_good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return is_good;
}

static bool make_key(mbedtls_pk_context *key, const char *path)
{
    unsigned char pem[4096];
    mbedtls_pk_init(key);
    return mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) == 0 &&
           mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*key), take_random, NULL) ==
               0 &&
           mbedtls_pk_write_key_pem(key, pem, sizeof pem) == 0 &&
           (path == NULL || write_file(path, (char *)pem));
}

struct order {
    const char *subject, *issuer, *until;
    bool is_ca, has_names;
    mbedtls_pk_context *key, *signer;
};

/* SEQUENCE of [2] DNS names and [7] addresses. */
static size_t write_names(uint8_t *out)
{
    static const char *const names[] = {"tidegate.test", "*.wild.test"};
    static const uint8_t v4[] = {127, 0, 0, 1}, v6[16] = {[15] = 1};
    size_t len = 2;
    for (size_t i = 0; i < 2; i++) {
        out[len++] = 0x82;
        out[len++] = (uint8_t)strlen(names[i]);
        memcpy(out + len, names[i], strlen(names[i]));
        len += strlen(names[i]);
    }
    out[len++] = 0x87;
    out[len++] = sizeof v4;
    memcpy(out + len, v4, sizeof v4);
    len += sizeof v4;
    out[len++] = 0x87;
    out[len++] = sizeof v6;
    memcpy(out + len, v6, sizeof v6);
    len += sizeof v6;
    out[0] = 0x30;
    out[1] = (uint8_t)(len - 2);
    return len;
}

static bool set_serial(mbedtls_x509write_cert *cert)
{
    uint8_t serial[8];
    if (crypto_random(serial, sizeof serial) != 0)
        return false;
    serial[0] = (uint8_t)((serial[0] & 0x7f) | 1);
#if MBEDTLS_VERSION_MAJOR >= 3
    return mbedtls_x509write_crt_set_serial_raw(cert, serial, sizeof serial) == 0;
#else
    mbedtls_mpi number;
    mbedtls_mpi_init(&number);
    bool is_good = mbedtls_mpi_read_binary(&number, serial, sizeof serial) == 0 &&
                   mbedtls_x509write_crt_set_serial(cert, &number) == 0;
    mbedtls_mpi_free(&number);
    return is_good;
#endif
}

static bool make_cert(const struct order *o, const char *path)
{
    mbedtls_x509write_cert cert;
    unsigned char pem[4096];
    uint8_t names[128];
    mbedtls_x509write_crt_init(&cert);
    mbedtls_x509write_crt_set_version(&cert, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&cert, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&cert, o->key);
    mbedtls_x509write_crt_set_issuer_key(&cert, o->signer);
    bool is_good = set_serial(&cert) &&
                   mbedtls_x509write_crt_set_subject_name(&cert, o->subject) == 0 &&
                   mbedtls_x509write_crt_set_issuer_name(&cert, o->issuer) == 0 &&
                   mbedtls_x509write_crt_set_validity(&cert, "20190101000000", o->until) == 0 &&
                   mbedtls_x509write_crt_set_basic_constraints(&cert, o->is_ca, -1) == 0;
    if (is_good && o->has_names)
        is_good =
            mbedtls_x509write_crt_set_extension(&cert, MBEDTLS_OID_SUBJECT_ALT_NAME,
                                                MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), 0,
                                                names, write_names(names)) == 0;
    is_good = is_good &&
              mbedtls_x509write_crt_pem(&cert, pem, sizeof pem, take_random, NULL) == 0 &&
              write_file(path, (char *)pem);
    mbedtls_x509write_crt_free(&cert);
    return is_good;
}

static bool make_pin(struct tls_certs *c)
{
    mbedtls_x509_crt cert;
    uint8_t digest[CRYPTO_SHA256_SIZE];
    struct crypto_sha256 *h = crypto_sha256_new();
    mbedtls_x509_crt_init(&cert);
    bool is_good = h != NULL && mbedtls_x509_crt_parse_file(&cert, c->good) == 0;
    if (is_good) {
        crypto_sha256_update(h, cert.pk_raw.p, cert.pk_raw.len);
        crypto_sha256_finish(h, digest);
        is_good = crypto_base64_encode(digest, sizeof digest, c->pin, sizeof c->pin) == 0;
    } else {
        crypto_sha256_free(h);
    }
    mbedtls_x509_crt_free(&cert);
    return is_good;
}

static void name(const struct tls_certs *c, const char *file, char out[96])
{
    snprintf(out, 96, "%s/%s.pem", c->folder, file);
}

bool tls_certs_make(struct tls_certs *c)
{
    static const char late[] = "20991231235959", early[] = "20200101000000";
    mbedtls_pk_context ca, other_ca, key, other_key;

#if MBEDTLS_VERSION_MAJOR >= 3
    if (psa_crypto_init() != PSA_SUCCESS)
        return false;
#endif
    snprintf(c->folder, sizeof c->folder, "/tmp/tidegate-certs-XXXXXX");
    if (mkdtemp(c->folder) == NULL)
        return false;
    name(c, "ca", c->ca);
    name(c, "other_ca", c->other_ca);
    name(c, "good", c->good);
    name(c, "expired", c->expired);
    name(c, "no_names", c->no_names);
    name(c, "self", c->self);
    name(c, "key", c->key);
    name(c, "other_key", c->other_key);
    bool has_keys = make_key(&ca, NULL);
    has_keys &= make_key(&other_ca, NULL);
    has_keys &= make_key(&key, c->key);
    has_keys &= make_key(&other_key, c->other_key);
    static const char site[] = "CN=tidegate.test";
    struct order orders[] = {
        {"CN=test CA", "CN=test CA", late, true, false, &ca, &ca},
        {"CN=test CA", "CN=test CA", late, true, false, &other_ca, &other_ca},
        {site, "CN=test CA", late, false, true, &key, &ca},
        {site, "CN=test CA", early, false, true, &key, &ca},
        {site, "CN=test CA", late, false, false, &key, &ca},
        {site, site, late, false, true, &key, &key},
    };
    const char *const paths[] = {c->ca, c->other_ca, c->good, c->expired, c->no_names, c->self};
    bool is_good = has_keys;
    for (size_t i = 0; i < 6 && is_good; i++)
        is_good = make_cert(&orders[i], paths[i]);
    is_good = is_good && make_pin(c);
    mbedtls_pk_free(&ca);
    mbedtls_pk_free(&other_ca);
    mbedtls_pk_free(&key);
    mbedtls_pk_free(&other_key);
    return is_good;
}

void tls_certs_remove(struct tls_certs *c)
{
    const char *const paths[] = {c->ca,   c->other_ca, c->good, c->expired,
                                 c->self, c->no_names, c->key,  c->other_key};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        unlink(paths[i]);
    rmdir(c->folder);
}
