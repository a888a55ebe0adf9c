#include "tls_identity.h"

#include "tls_duplex_internal.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include <mbedtls/oid.h>

#define ITEM_MAX  1024
#define PARTS_MAX 32

static const mbedtls_x509_crt *certificate_of(const struct duplex *d)
{
    const struct tls_duplex *t = container_of(d, const struct tls_duplex, duplex);

    if (t->state != TLS_OPEN || mbedtls_ssl_get_verify_result(&t->ssl) != 0)
        return NULL;
    return mbedtls_ssl_get_peer_cert(&t->ssl);
}

bool tls_identity_is_known(const struct duplex *d)
{
    return certificate_of(d) != NULL;
}

/* ---- text ---- */

/* `special`: what must not stand for itself. */
static void add_escaped(struct text *out, const uint8_t *s, size_t len, const char *special)
{
    for (size_t i = 0; i < len; i++) {
        bool is_outside = i == 0 || i + 1 == len;
        if (s[i] < ' ' || s[i] > '~' || (is_outside && s[i] == ' '))
            text_addf(out, "\\%02X", s[i]);
        else if (strchr(special, s[i]) != NULL || (i == 0 && s[i] == '#'))
            text_addf(out, "\\%c", s[i]);
        else
            text_addf(out, "%c", s[i]);
    }
}

static void add_hex(struct text *out, const uint8_t *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        text_addf(out, "%02X", s[i]);
}

/* A list of whole items. */
struct list {
    struct text *out;
    size_t begin;
};

/* False if it does not fit: "..." takes its place, and the list is over. */
static bool add_item(struct list *list, const char *separator, const struct text *item)
{
    struct text *out = list->out;
    const char *before = out->len > list->begin ? separator : "";

    if (item->overflowed || out->len + 1 + item->len + sizeof(",...") > out->size) {
        text_addf(out, "%s...", before);
        return false;
    }
    text_addf(out, "%s%s", before, item->data);
    return true;
}

/* ---- the subject ---- */

static const struct {
    const char *oid, *name;
} attributes[] = {
    {MBEDTLS_OID_AT_CN, "CN"},
    {MBEDTLS_OID_AT_ORGANIZATION, "O"},
    {MBEDTLS_OID_AT_ORG_UNIT, "OU"},
    {MBEDTLS_OID_AT_COUNTRY, "C"},
    {MBEDTLS_OID_AT_STATE, "ST"},
    {MBEDTLS_OID_AT_LOCALITY, "L"},
    {MBEDTLS_OID_DOMAIN_COMPONENT, "DC"},
    {"\x09\x92\x26\x89\x93\xF2\x2C\x64\x01\x01", "UID"},
    {MBEDTLS_OID_AT_SERIAL_NUMBER, "serialNumber"},
    {MBEDTLS_OID_PKCS9_EMAIL, "emailAddress"},
};

static void add_attribute(struct text *out, const mbedtls_x509_buf *oid)
{
    char number[128];

    for (size_t i = 0; i < array_count(attributes); i++)
        if (strlen(attributes[i].oid) == oid->len &&
            memcmp(attributes[i].oid, oid->p, oid->len) == 0) {
            text_add(out, attributes[i].name);
            return;
        }
    bool is_good = mbedtls_oid_get_numeric_string(number, sizeof(number), oid) > 0;
    text_add(out, is_good ? number : "?");
}

static bool is_of_bytes(const mbedtls_x509_buf *value)
{
    switch (value->tag) {
    case MBEDTLS_ASN1_UTF8_STRING:
    case MBEDTLS_ASN1_PRINTABLE_STRING:
    case MBEDTLS_ASN1_IA5_STRING:
    case MBEDTLS_ASN1_T61_STRING:
        return true;
    default: /* wide characters and the like */
        return false;
    }
}

static void add_value(struct text *out, const mbedtls_x509_buf *value)
{
    if (is_of_bytes(value)) {
        add_escaped(out, value->p, value->len, "\"+,;<>\\");
        return;
    }
    /* As they are, in BER. */
    text_addf(out, "#%02X", (unsigned)value->tag & 0xff);
    if (value->len < 128)
        text_addf(out, "%02X", (unsigned)value->len);
    else
        text_addf(out, "82%04X", (unsigned)value->len & 0xffff);
    add_hex(out, value->p, value->len);
}

/* The last part of the certificate's is the first of the text. */
void tls_identity_subject(const struct duplex *d, struct text *out)
{
    const mbedtls_x509_crt *cert = certificate_of(d);
    const mbedtls_x509_name *parts[PARTS_MAX];
    struct list list = {.out = out, .begin = out->len};
    size_t count = 0;

    if (cert == NULL)
        return;
    for (const mbedtls_x509_name *name = &cert->subject; name != NULL; name = name->next) {
        if (name->oid.p == NULL)
            continue;
        if (count == PARTS_MAX) {
            text_add(out, "...");
            return;
        }
        parts[count++] = name;
    }
    for (size_t i = count; i-- > 0;) {
        char buffer[ITEM_MAX];
        struct text item;
        text_init(&item, buffer, sizeof(buffer));
        add_attribute(&item, &parts[i]->oid);
        text_add(&item, "=");
        add_value(&item, &parts[i]->val);
        if (!add_item(&list, tls_library_is_joined(parts[i]) ? "+" : ",", &item))
            return;
    }
}

void tls_identity_common_name(const struct duplex *d, struct text *out)
{
    const mbedtls_x509_crt *cert = certificate_of(d);

    if (cert == NULL)
        return;
    for (const mbedtls_x509_name *name = &cert->subject; name != NULL; name = name->next) {
        if (name->oid.p == NULL || MBEDTLS_OID_CMP(MBEDTLS_OID_AT_CN, &name->oid) != 0)
            continue;
        if (is_of_bytes(&name->val))
            text_add_bytes(out, (const char *)name->val.p, name->val.len);
        return;
    }
}

const char *tls_identity_version(const struct duplex *d)
{
    return mbedtls_ssl_get_version(&container_of(d, const struct tls_duplex, duplex)->ssl);
}

/* ---- subject alternative names ---- */

static const struct {
    int tag;
    const char *prefix;
} kinds[] = {
    {TLS_SAN_DNS, "DNS:"},
    {TLS_SAN_URI, "URI:"},
    {TLS_SAN_ADDRESS, "IP:"},
    {TLS_SAN_EMAIL, "email:"},
};

static const char *prefix_of(int tag)
{
    for (size_t i = 0; i < array_count(kinds); i++)
        if (kinds[i].tag == (tag & MBEDTLS_ASN1_TAG_VALUE_MASK))
            return kinds[i].prefix;
    return NULL;
}

/* False: it is none (2.28 lets it pass). */
static bool add_address(struct text *out, const mbedtls_x509_buf *san)
{
    char address[INET6_ADDRSTRLEN];

    if (san->len != 4 && san->len != 16)
        return false;
    text_add(out, inet_ntop(san->len == 4 ? AF_INET : AF_INET6, san->p, address, sizeof(address)));
    return true;
}

/* False: of no kind that is told. */
static bool add_name(struct text *out, const mbedtls_x509_buf *san)
{
    const char *prefix = san->p != NULL ? prefix_of(san->tag) : NULL;

    if (prefix == NULL)
        return false;
    text_add(out, prefix);
    if ((san->tag & MBEDTLS_ASN1_TAG_VALUE_MASK) == TLS_SAN_ADDRESS)
        return add_address(out, san);
    add_escaped(out, san->p, san->len, ",\\");
    return true;
}

void tls_identity_names(const struct duplex *d, struct text *out)
{
    const mbedtls_x509_crt *cert = certificate_of(d);
    struct list list = {.out = out, .begin = out->len};

    if (cert == NULL)
        return;
    for (const mbedtls_x509_sequence *san = &cert->subject_alt_names; san != NULL;
         san = san->next) {
        char buffer[ITEM_MAX];
        struct text item;
        text_init(&item, buffer, sizeof(buffer));
        if (add_name(&item, &san->buf) && !add_item(&list, ",", &item))
            return;
    }
}

static bool is_same(const mbedtls_x509_buf *san, const char *name)
{
    size_t len = strlen(name);
    uint8_t address[16];

    switch (san->tag & MBEDTLS_ASN1_TAG_VALUE_MASK) {
    case TLS_SAN_ADDRESS:
        if (inet_pton(AF_INET, name, address) == 1)
            return san->len == 4 && memcmp(san->p, address, 4) == 0;
        return inet_pton(AF_INET6, name, address) == 1 && san->len == 16 &&
               memcmp(san->p, address, 16) == 0;
    case TLS_SAN_DNS:
        return text_equals_nocase((const char *)san->p, san->len, name);
    default:
        return san->len == len && memcmp(san->p, name, len) == 0;
    }
}

bool tls_identity_has_name(const struct duplex *d, const char *name)
{
    const mbedtls_x509_crt *cert = certificate_of(d);

    if (cert == NULL)
        return false;
    for (const mbedtls_x509_sequence *san = &cert->subject_alt_names; san != NULL;
         san = san->next) {
        const char *prefix = san->buf.p != NULL ? prefix_of(san->buf.tag) : NULL;
        if (prefix != NULL && strncmp(name, prefix, strlen(prefix)) == 0 &&
            is_same(&san->buf, name + strlen(prefix)))
            return true;
    }
    return false;
}
