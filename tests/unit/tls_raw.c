#include "tls_raw.h"

#include "crypto.h"
#include "queue.h"

#include <mbedtls/version.h>

static struct queue inbox;

static void keep(void *owner, struct span data)
{
    (void)owner;
    assert_int_equal(queue_push(&inbox, data), 0);
}

static int take(void *context, unsigned char *out, size_t len)
{
    struct span next;
    (void)context;
    if (queue_peek(&inbox, &next, 1) == 0)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (len > next.len)
        len = next.len;
    memcpy(out, next.data, len);
    queue_drop(&inbox, len);
    return (int)len;
}

static int give(void *context, const unsigned char *data, size_t len)
{
    (void)context;
    for (size_t done = 0; done < len;) {
        size_t n = len - done < 1024 ? len - done : 1024;
        kit_write_raw(CLIENT, data + done, n);
        done += n;
    }
    return (int)len;
}

static int random_bytes(void *context, unsigned char *out, size_t len)
{
    (void)context;
    return crypto_random(out, len);
}

void tls_raw_open(struct tls_raw *raw)
{
    static struct duplex_events keeps;

    keeps = kit_events;
    keeps.on_data = keep;
    kit_open_wire();
    kit.options[SERVER] = (struct tls_duplex_options){0};
    kit_own(CLIENT, &kit.wire.end[CLIENT].duplex);
    duplex_own(kit.side[CLIENT].duplex, &keeps, &kit.side[CLIENT]);
    kit_open_tls(SERVER);
    raw->host = NULL;
    raw->session = NULL;
    mbedtls_ssl_config_init(&raw->config);
    mbedtls_ssl_init(&raw->ssl);
    assert_int_equal(mbedtls_ssl_config_defaults(&raw->config, MBEDTLS_SSL_IS_CLIENT,
                                                 MBEDTLS_SSL_TRANSPORT_STREAM,
                                                 MBEDTLS_SSL_PRESET_DEFAULT),
                     0);
    mbedtls_ssl_conf_authmode(&raw->config, MBEDTLS_SSL_VERIFY_NONE);
    mbedtls_ssl_conf_rng(&raw->config, random_bytes, NULL);
    mbedtls_ssl_conf_renegotiation(&raw->config, MBEDTLS_SSL_RENEGOTIATION_ENABLED);
}

void tls_raw_speak_tls12(struct tls_raw *raw)
{
#if MBEDTLS_VERSION_MAJOR >= 3
    mbedtls_ssl_conf_max_tls_version(&raw->config, MBEDTLS_SSL_VERSION_TLS1_2);
#else
    (void)raw; /* it knows no other */
#endif
}

int tls_raw_shake(struct tls_raw *raw)
{
    int r;

    assert_int_equal(mbedtls_ssl_setup(&raw->ssl, &raw->config), 0);
    assert_int_equal(mbedtls_ssl_set_hostname(&raw->ssl, raw->host), 0);
    if (raw->session != NULL)
        assert_int_equal(mbedtls_ssl_set_session(&raw->ssl, raw->session), 0);
    mbedtls_ssl_set_bio(&raw->ssl, NULL, give, take, NULL);
    while ((r = mbedtls_ssl_handshake(&raw->ssl)) == MBEDTLS_ERR_SSL_WANT_READ &&
           !kit.side[SERVER].is_over)
        kit_flow();
    kit_flow();
    return r;
}

void tls_raw_end(struct tls_raw *raw)
{
    mbedtls_ssl_free(&raw->ssl);
    mbedtls_ssl_config_free(&raw->config);
    queue_clear(&inbox);
    kit_end();
}
