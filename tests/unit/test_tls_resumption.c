/* Sessions resumed by tickets: that they are, and where they must not be. */
#include "tls_kit.h"
#include "tls_raw.h"

#include <mbedtls/version.h>

/* How many certificates of the server the client has looked at: none when it resumes. */
static unsigned certificates;

static int count_certificate(void *context, mbedtls_x509_crt *cert, int depth, uint32_t *flags)
{
    (void)context;
    (void)cert;
    (void)depth;
    (void)flags;
    certificates++;
    return 0;
}

enum version { NEWEST, ONLY_TLS12 };

/* With TLS 1.3 the ticket comes behind the handshake: the first read finds it, the second takes it.
 */
static void take_ticket(struct tls_raw *raw, mbedtls_ssl_session *session)
{
    unsigned char byte;
    (void)mbedtls_ssl_read(&raw->ssl, &byte, 1);
    (void)mbedtls_ssl_read(&raw->ssl, &byte, 1);
    mbedtls_ssl_session_free(session);
    mbedtls_ssl_session_init(session);
    assert_int_equal(mbedtls_ssl_get_session(&raw->ssl, session), 0);
}

static void open_client(struct tls_raw *raw, enum version version)
{
    certificates = 0;
    tls_raw_open(raw);
    mbedtls_ssl_conf_authmode(&raw->config, MBEDTLS_SSL_VERIFY_OPTIONAL);
    mbedtls_ssl_conf_verify(&raw->config, count_certificate, NULL);
#if MBEDTLS_VERSION_MAJOR >= 3
    mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
        &raw->config, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
#endif
    if (version == ONLY_TLS12)
        tls_raw_speak_tls12(raw);
}

/* Connects, with `session` if it is one to resume, says something, and leaves with a session to
 * resume. Whether it has resumed. */
static bool connect_again(enum version version, const char *host, bool has_session,
                          mbedtls_ssl_session *session)
{
    struct tls_raw raw;
    uint8_t byte = kit_byte_at(0);
    open_client(&raw, version);
    raw.host = host;
    raw.session = has_session ? session : NULL;
    assert_int_equal(tls_raw_shake(&raw), 0);
    assert_string_equal(kit.side[SERVER].told, "OPEN;");
    assert_int_equal(mbedtls_ssl_write(&raw.ssl, &byte, 1), 1);
    kit_flow();
    assert_int_equal(kit.side[SERVER].received, 1);
    take_ticket(&raw, session);
    tls_raw_end(&raw);
    return certificates == 0;
}

static void test_75_sessions_are_resumed(void **state)
{
    (void)state;
    for (enum version version = NEWEST; version <= ONLY_TLS12; version++) {
        mbedtls_ssl_session session;
        mbedtls_ssl_session_init(&session);
        assert_false(connect_again(version, "tidegate.test", false, &session));
        assert_true(connect_again(version, "tidegate.test", true, &session));
        assert_true(connect_again(version, "tidegate.test", true, &session));
        /* All names are served alike. (3.6 as a client refuses to ask that with TLS 1.3.) */
        if (version == ONLY_TLS12)
            assert_true(connect_again(version, "other.test", true, &session));
        mbedtls_ssl_session_free(&session);
    }
}

/* Other keys: as if the ticket had not been there. */
static void test_75_a_reload_forgets_the_tickets(void **state)
{
    (void)state;
    struct tls_server_options o = {.pairs = {{kit.certs.good, kit.certs.key}}, .pair_count = 1};
    for (enum version version = NEWEST; version <= ONLY_TLS12; version++) {
        mbedtls_ssl_session session;
        mbedtls_ssl_session_init(&session);
        assert_false(connect_again(version, NULL, false, &session));
        kit_configure(NULL, &o);
        assert_false(connect_again(version, NULL, true, &session));
        assert_true(connect_again(version, NULL, true, &session));
        kit_configure_usual();
        mbedtls_ssl_session_free(&session);
    }
}

static void test_75_clients_with_certificates_do_not_resume(void **state)
{
    (void)state;
    struct tls_server_options o = {.pairs = {{kit.certs.good, kit.certs.key}},
                                   .pair_count = 1,
                                   .client_ca_file = kit.certs.ca,
                                   .client_verify = TLS_CLIENT_OPTIONAL};
    for (enum version version = NEWEST; version <= ONLY_TLS12; version++) {
        mbedtls_ssl_session session;
        mbedtls_ssl_session_init(&session);
        kit_configure(NULL, &o);
        assert_false(connect_again(version, NULL, false, &session));
        assert_false(connect_again(version, NULL, true, &session));
        kit_configure_usual();
        mbedtls_ssl_session_free(&session);
    }
}

/* A ticket from where nobody was asked is no way in where somebody is. */
static void test_75_a_ticket_is_no_certificate(void **state)
{
    (void)state;
    struct tls_server_options o = {.pairs = {{kit.certs.good, kit.certs.key}},
                                   .pair_count = 1,
                                   .client_ca_file = kit.certs.ca};
    for (enum version version = NEWEST; version <= ONLY_TLS12; version++) {
        mbedtls_ssl_session session;
        struct tls_raw raw;
        mbedtls_ssl_session_init(&session);
        assert_false(connect_again(version, NULL, false, &session));
        kit_configure(NULL, &o);
        open_client(&raw, version);
        raw.session = &session;
        (void)tls_raw_shake(&raw); /* with TLS 1.3 it does not know yet */
        assert_string_equal(kit.side[SERVER].told, "ABORT;");
        side_check_problem(&kit.side[SERVER], "the peer has no certificate");
        tls_raw_end(&raw);
        kit_configure_usual();
        mbedtls_ssl_session_free(&session);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_75_sessions_are_resumed),
        cmocka_unit_test(test_75_a_reload_forgets_the_tickets),
        cmocka_unit_test(test_75_clients_with_certificates_do_not_resume),
        cmocka_unit_test(test_75_a_ticket_is_no_certificate),
    };
    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
