/* Clients with certificates: who is let in, and who they are then said to be. */
#include "tls_identity.h"
#include "tls_kit.h"

enum { NONE, REQUIRE, OPTIONAL };

/* A client with that certificate (NULL: none), up to the first data. `problem` is what the server
 * says of it, NULL if it is let in. Ends with kit_end(). */
static void connect_as(const char *cert, int verify, const char *problem)
{
    struct tls_client_options client = {.ca_file = kit.certs.ca};
    struct tls_server_options server = {.pairs = {{kit.certs.good, kit.certs.key}},
                                        .pair_count = 1};
    if (cert != NULL)
        client.pair = (struct tls_pair_files){cert, kit.certs.key};
    if (verify != NONE)
        server.client_ca_file = kit.certs.ca;
    server.client_verify = verify == OPTIONAL ? TLS_CLIENT_OPTIONAL : TLS_CLIENT_REQUIRE;
    kit_configure(&client, &server);
    kit_open_both();
    side_send(&kit.side[CLIENT], 1000);
    kit_flow();
    if (problem == NULL) {
        assert_string_equal(kit.side[SERVER].told, "OPEN;");
        assert_true(side_has_whole(&kit.side[CLIENT], &kit.side[SERVER]));
        return;
    }
    assert_string_equal(kit.side[SERVER].told, "ABORT;");
    side_check_problem(&kit.side[SERVER], problem);
    assert_int_equal(kit.side[SERVER].received, 0);
    assert_non_null(strstr(kit.side[CLIENT].told, "ABORT;")); /* TLS 1.3 may have opened before */
    side_check_problem(&kit.side[CLIENT], "the peer refused (TLS alert)");
}

static void check_client(const char *cert, int verify, const char *problem)
{
    connect_as(cert, verify, problem);
    kit_end();
    kit_configure_usual();
}

static void test_who_is_let_in(void **state)
{
    (void)state;
    static const char untrusted[] = "the certificate is not signed by a trusted authority";
    static const char other_use[] = "the certificate is for another use";
    static const char expired[] = "the certificate has expired";
    check_client(NULL, NONE, NULL);
    check_client(kit.certs.client_stranger, NONE, NULL); /* it is not asked for */
    check_client(NULL, OPTIONAL, NULL);
    check_client(NULL, REQUIRE, "the peer has no certificate");
    for (int verify = REQUIRE; verify <= OPTIONAL; verify++) {
        check_client(kit.certs.client, verify, NULL);
        check_client(kit.certs.client_any_use, verify, NULL);
        check_client(kit.certs.client_other_use, verify, other_use);
        check_client(kit.certs.client_expired, verify, expired);
        check_client(kit.certs.client_stranger, verify, untrusted);
        check_client(kit.certs.self, verify, untrusted);
    }
}

/* Of the client, as the server sees it. */
static const char *describe(void (*part)(const struct duplex *d, struct text *out), size_t size)
{
    static char buffer[2048];
    struct text t;
    assert_true(size <= sizeof buffer);
    text_init(&t, buffer, size);
    part(kit.side[SERVER].duplex, &t);
    assert_false(t.overflowed);
    return buffer;
}

static bool has_name(const char *name)
{
    return tls_identity_has_name(kit.side[SERVER].duplex, name);
}

static void test_identity(void **state)
{
    (void)state;
    connect_as(kit.certs.client, REQUIRE, NULL);
    assert_true(tls_identity_is_known(kit.side[SERVER].duplex));
    assert_string_equal(describe(tls_identity_subject, 256), "CN=alice,OU=Gate,O=Example,C=DE");
    assert_string_equal(describe(tls_identity_names, 256),
                        "DNS:alice.test,URI:spiffe://test/alice,IP:192.0.2.1,"
                        "email:alice@example.test");
    assert_true(has_name("URI:spiffe://test/alice"));
    assert_true(has_name("DNS:alice.test"));
    assert_true(has_name("DNS:ALICE.test"));
    assert_true(has_name("IP:192.0.2.1"));
    assert_true(has_name("email:alice@example.test"));
    assert_false(has_name("URI:spiffe://test/ALICE"));
    assert_false(has_name("URI:spiffe://test/alic"));
    assert_false(has_name("URI:spiffe://test/alice2"));
    assert_false(has_name("URI:alice.test"));
    assert_false(has_name("DNS:"));
    assert_false(has_name("alice.test"));
    assert_false(has_name("IP:192.0.2.2"));
    assert_false(has_name("IP:::ffff:192.0.2.1"));
    assert_false(has_name(""));
    /* The client knows the server, too. */
    assert_true(tls_identity_has_name(kit.side[CLIENT].duplex, "IP:::1"));
    kit_end();
    kit_configure_usual();
}

static void test_nobody_is_known(void **state)
{
    (void)state;
    for (int verify = NONE; verify <= OPTIONAL; verify += OPTIONAL) {
        connect_as(verify == NONE ? kit.certs.client : NULL, verify, NULL);
        assert_false(tls_identity_is_known(kit.side[SERVER].duplex));
        assert_string_equal(describe(tls_identity_subject, 64), "");
        assert_string_equal(describe(tls_identity_names, 64), "");
        assert_false(has_name("DNS:alice.test"));
        kit_end();
    }
    struct tls_client_options blind = {.is_insecure = true};
    kit_configure(&blind, NULL);
    kit_open_and_shake();
    assert_false(tls_identity_is_known(kit.side[CLIENT].duplex));
    kit_end();
    kit_open_both(); /* not open yet */
    assert_false(tls_identity_is_known(kit.side[SERVER].duplex));
    kit_end();
    kit_configure_usual();
}

static void test_identity_is_safe_text(void **state)
{
    (void)state;
    connect_as(kit.certs.client_nasty, REQUIRE, NULL);
    assert_string_equal(describe(tls_identity_subject, 256),
                        "CN=eve\\,O=admin\\01\\;#,OU=\\20x\\20");
    assert_string_equal(describe(tls_identity_names, 1024),
                        "DNS:alice.test\\00.evil.test,DNS:x\\,URI:spiffe://test/alice,"
                        "URI:spiffe://test/\\0A\\1B[2Jmallory\\\\,DNS:*.alice.test,"
                        "email:\\C3\\A9@example.test");
    assert_false(has_name("DNS:alice.test"));
    assert_false(has_name("URI:spiffe://test/alice"));
    assert_false(has_name("IP:192.0.2.1"));
    assert_false(has_name("DNS:bob.alice.test"));
    assert_true(has_name("DNS:*.alice.test"));
    assert_true(has_name("DNS:x,URI:spiffe://test/alice"));
    kit_end();
    kit_configure_usual();
}

/* What is left out is seen to be, and nothing is half there. */
static void check_cut(const char *whole, const char *cut, size_t size)
{
    size_t len = strlen(cut);
    assert_true(len < size);
    if (strcmp(cut, whole) == 0)
        return;
    assert_true(len >= 3 && strcmp(cut + len - 3, "...") == 0);
    len -= 3;
    assert_memory_equal(cut, whole, len);
    if (len > 0)
        assert_int_equal(cut[len - 1], ',');
}

static void test_identity_is_bounded(void **state)
{
    (void)state;
    char subject[512], names[2048];
    connect_as(kit.certs.client_many, REQUIRE, NULL);
    snprintf(subject, sizeof subject, "%s", describe(tls_identity_subject, sizeof subject));
    snprintf(names, sizeof names, "%s", describe(tls_identity_names, sizeof names));
    assert_int_equal(strlen(subject), 3 * 32 + sizeof "CN=,OU=,O=" - 1);
    assert_null(strstr(names, "..."));
    assert_non_null(strstr(names, ",DNS:host-number-39.example.test"));
    for (size_t size = 5; size < 300; size++) {
        check_cut(subject, describe(tls_identity_subject, size), size);
        check_cut(names, describe(tls_identity_names, size), size);
    }
    assert_true(has_name("DNS:host-number-39.example.test"));
    kit_end();
    kit_configure_usual();
}

static void test_bad_files(void **state)
{
    (void)state;
    char buffer[512];
    struct text t;
    struct tls_config *config = NULL;
    struct tls_client_options client = {.ca_file = kit.certs.ca,
                                        .pair = {kit.certs.client, kit.certs.other_key}};
    text_init(&t, buffer, sizeof buffer);
    assert_true(tls_config_new_client(&client, &config, &t) < 0);
    assert_non_null(strstr(buffer, kit.certs.other_key));
    client.pair.key_file = NULL;
    assert_true(tls_config_new_client(&client, &config, &t) < 0);
    struct tls_server_options server = {.pairs = {{kit.certs.good, kit.certs.key}},
                                        .pair_count = 1,
                                        .client_ca_file = "/nowhere.pem"};
    text_init(&t, buffer, sizeof buffer);
    assert_true(tls_config_new_server(&server, &config, &t) < 0);
    assert_string_equal(buffer, "CA file /nowhere.pem: cannot be read");
    assert_null(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_let_in),       cmocka_unit_test(test_identity),
        cmocka_unit_test(test_nobody_is_known),     cmocka_unit_test(test_identity_is_safe_text),
        cmocka_unit_test(test_identity_is_bounded), cmocka_unit_test(test_bad_files),
    };
    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
