#include "tls_certs.h"

#include "crypto.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mbedtls/ecp.h>
#include <mbedtls/oid.h>
#include <mbedtls/pk.h>
#include <mbedtls/rsa.h>
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

static bool write_key(mbedtls_pk_context *key, const char *path)
{
    unsigned char pem[4096];
    return mbedtls_pk_write_key_pem(key, pem, sizeof pem) == 0 && write_file(path, (char *)pem);
}

static bool make_key(mbedtls_pk_context *key, const char *path)
{
    mbedtls_pk_init(key);
    return mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY)) == 0 &&
           mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*key), take_random, NULL) ==
               0 &&
           (path == NULL || write_key(key, path));
}

static bool make_rsa_key(mbedtls_pk_context *key, const char *path)
{
    mbedtls_pk_init(key);
    return mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_RSA)) == 0 &&
           mbedtls_rsa_gen_key(mbedtls_pk_rsa(*key), take_random, NULL, 2048, 65537) == 0 &&
           write_key(key, path);
}

/* A subject alternative name: RFC 5280's number of the kind. */
enum { EMAIL = 1, DNS = 2, URI = 6, ADDRESS = 7 };

struct san {
    uint8_t kind;
    const char *bytes;
    uint8_t len; /* 0: up to the NUL */
};

#define NAMES_MAX 40

/* What it is good for, besides what any certificate is. */
enum use { ANY_USE, FOR_CLIENTS, FOR_SERVERS };

struct order {
    const char *path, *subject, *issuer, *until;
    mbedtls_pk_context *key, *signer;
    const struct san *names; /* the last has kind 0; NULL: none */
    enum use use;
    bool is_ca;
};

/* A SEQUENCE. */
static size_t write_names(const struct san *names, uint8_t *out)
{
    size_t len = 4;
    for (; names->kind != 0; names++) {
        size_t size = names->len > 0 ? names->len : strlen(names->bytes);
        out[len++] = (uint8_t)(0x80 | names->kind);
        out[len++] = (uint8_t)size;
        memcpy(out + len, names->bytes, size);
        len += size;
    }
    out[0] = 0x30;
    out[1] = 0x82;
    out[2] = (uint8_t)((len - 4) >> 8);
    out[3] = (uint8_t)(len - 4);
    return len;
}

static bool set_names(mbedtls_x509write_cert *cert, const struct san *names)
{
    uint8_t der[4096];
    return names == NULL ||
           mbedtls_x509write_crt_set_extension(cert, MBEDTLS_OID_SUBJECT_ALT_NAME,
                                               MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME), 0,
                                               der, write_names(names, der)) == 0;
}

static bool set_use(mbedtls_x509write_cert *cert, enum use use)
{
    uint8_t der[] = {0x30, 10, 6, 8, 0x2b, 6, 1, 5, 5, 7, 3, use == FOR_CLIENTS ? 2 : 1};
    return use == ANY_USE ||
           mbedtls_x509write_crt_set_extension(cert, MBEDTLS_OID_EXTENDED_KEY_USAGE,
                                               MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE), 0,
                                               der, sizeof der) == 0;
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

static bool make_cert(const struct order *o)
{
    mbedtls_x509write_cert cert;
    unsigned char pem[8192];
    mbedtls_x509write_crt_init(&cert);
    mbedtls_x509write_crt_set_version(&cert, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&cert, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&cert, o->key);
    mbedtls_x509write_crt_set_issuer_key(&cert, o->signer);
    bool is_good = set_serial(&cert) &&
                   mbedtls_x509write_crt_set_subject_name(&cert, o->subject) == 0 &&
                   mbedtls_x509write_crt_set_issuer_name(&cert, o->issuer) == 0 &&
                   mbedtls_x509write_crt_set_validity(&cert, "20190101000000", o->until) == 0 &&
                   mbedtls_x509write_crt_set_basic_constraints(&cert, o->is_ca, -1) == 0 &&
                   set_names(&cert, o->names) && set_use(&cert, o->use);
    is_good = is_good &&
              mbedtls_x509write_crt_pem(&cert, pem, sizeof pem, take_random, NULL) == 0 &&
              write_file(o->path, (char *)pem);
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

static const struct san usual_names[] = {
    {DNS, "tidegate.test", 0},
    {DNS, "*.wild.test", 0},
    {ADDRESS, "\x7f\0\0\1", 4},
    {ADDRESS, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16},
    {0, NULL, 0},
};

static const struct san second_names[] = {{DNS, "second.test", 0}, {0, NULL, 0}};

static const struct san client_names[] = {
    {DNS, "alice.test", 0},
    {URI, "spiffe://test/alice", 0},
    {ADDRESS, "\xc0\0\2\1", 4},
    {EMAIL, "alice@example.test", 0},
    {0, NULL, 0},
};

/* What must not pass for something else: a NUL, a comma, a line end, a wildcard. */
static const struct san nasty_names[] = {
    {DNS, "alice.test\0.evil.test", 21},          {DNS, "x,URI:spiffe://test/alice", 0},
    {URI, "spiffe://test/\n\x1b[2Jmallory\\", 0}, {DNS, "*.alice.test", 0},
    {EMAIL, "\xc3\xa9@example.test", 0},          {0, NULL, 0},
};

#define PATH_OF(name) {offsetof(struct tls_certs, name), #name},

static const struct {
    size_t offset;
    const char *name;
} files[] = {TLS_CERTS_FILES(PATH_OF)};

static char *path_of(struct tls_certs *c, size_t file)
{
    return (char *)c + files[file].offset;
}

static bool make_certs(struct tls_certs *c)
{
    static const char late[] = "20991231235959", early[] = "20200101000000";
    static const char site[] = "CN=tidegate.test", authority[] = "CN=test CA";
    static const char alice[] = "C=DE,O=Example,OU=Gate,CN=alice";
    mbedtls_pk_context ca, other_ca, key, other_key;
    struct san many[NAMES_MAX + 1] = {{0, NULL, 0}};
    char name[NAMES_MAX][32];

    for (int i = 0; i < NAMES_MAX; i++) {
        snprintf(name[i], sizeof name[i], "host-number-%d.example.test", i);
        many[i] = (struct san){DNS, name[i], 0};
    }
    bool is_good = make_key(&ca, NULL);
    is_good &= make_key(&other_ca, NULL);
    is_good &= make_key(&key, c->key);
    is_good &= make_key(&other_key, c->other_key);
    const struct order orders[] = {
        {c->ca, authority, authority, late, &ca, &ca, NULL, ANY_USE, true},
        {c->other_ca, authority, authority, late, &other_ca, &other_ca, NULL, ANY_USE, true},
        {c->good, site, authority, late, &key, &ca, usual_names, ANY_USE, false},
        {c->expired, site, authority, early, &key, &ca, usual_names, ANY_USE, false},
        {c->no_names, site, authority, late, &key, &ca, NULL, ANY_USE, false},
        {c->self, site, site, late, &key, &key, usual_names, ANY_USE, false},
        {c->second, "CN=second", authority, late, &other_key, &ca, second_names, ANY_USE, false},
        {c->client, alice, authority, late, &key, &ca, client_names, FOR_CLIENTS, false},
        {c->client_any_use, alice, authority, late, &key, &ca, NULL, ANY_USE, false},
        {c->client_other_use, alice, authority, late, &key, &ca, NULL, FOR_SERVERS, false},
        {c->client_expired, alice, authority, early, &key, &ca, NULL, FOR_CLIENTS, false},
        {c->client_stranger, alice, authority, late, &key, &other_ca, NULL, FOR_CLIENTS, false},
        {c->client_nasty, "OU= x ,CN=eve\\,O=admin\x01;#", authority, late, &key, &ca, nasty_names,
         FOR_CLIENTS, false},
        {c->client_many,
         "CN=0123456789abcdef0123456789abcdef,OU=0123456789abcdef0123456789abcdef,"
         "O=0123456789abcdef0123456789abcdef",
         authority, late, &key, &ca, many, FOR_CLIENTS, false},
    };
    for (size_t i = 0; i < sizeof orders / sizeof orders[0] && is_good; i++)
        is_good = make_cert(&orders[i]);
    is_good = is_good && make_pin(c);
    mbedtls_pk_free(&ca);
    mbedtls_pk_free(&other_ca);
    mbedtls_pk_free(&key);
    mbedtls_pk_free(&other_key);
    return is_good;
}

bool tls_certs_make(struct tls_certs *c)
{
#if MBEDTLS_VERSION_MAJOR >= 3
    if (psa_crypto_init() != PSA_SUCCESS)
        return false;
#endif
    char folder[] = "/tmp/tidegate-certs-XXXXXX";
    if (mkdtemp(folder) == NULL)
        return false;
    memcpy(c->folder, folder, sizeof folder);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        snprintf(path_of(c, i), TLS_CERTS_PATH_MAX, "%s/%s.pem", folder, files[i].name);
    return make_certs(c);
}

bool tls_certs_make_rsa(struct tls_certs *c)
{
    mbedtls_pk_context key;
    bool is_good = make_rsa_key(&key, c->rsa_key);
    const struct order order = {c->rsa,      "CN=rsa", "CN=rsa", "20991231235959", &key, &key,
                                usual_names, ANY_USE,  false};
    is_good = is_good && make_cert(&order);
    mbedtls_pk_free(&key);
    return is_good;
}

void tls_certs_remove(struct tls_certs *c)
{
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++)
        unlink(path_of(c, i));
    rmdir(c->folder);
}
