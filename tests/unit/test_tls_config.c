/* Who is believed, and which certificate is shown to whom. */
#include "tls_kit.h"
#include "tls_raw.h"

/* ---- who is believed ---- */

static void check_server(const char *cert, const char *host, const struct tls_client_options *o,
                         const char *problem)
{
    struct tls_server_options server = {.pairs = {{cert, kit.certs.key}}, .pair_count = 1};
    kit_configure(o, &server);
    kit_open_wire();
    kit.options[CLIENT] = (struct tls_duplex_options){.host = host};
    kit.options[SERVER] = (struct tls_duplex_options){0};
    kit_open_tls(CLIENT);
    kit_open_tls(SERVER);
    side_send(&kit.side[CLIENT], 10);
    kit_flow();
    if (problem == NULL) {
        assert_string_equal(kit.side[CLIENT].told, "OPEN;DRAIN;");
        assert_true(side_has_whole(&kit.side[CLIENT], &kit.side[SERVER]));
    } else {
        assert_string_equal(kit.side[CLIENT].told, "ABORT;");
        side_check_problem(&kit.side[CLIENT], problem);
        assert_int_equal(kit.side[SERVER].received, 0); /* nothing was told to the wrong one */
    }
    kit_end();
    kit_configure_usual();
}

static void test_72_chain_and_name(void **state)
{
    (void)state;
    struct tls_client_options o = {.ca_file = kit.certs.ca};
    static const char wrong_name[] = "the certificate is for another name";
    static const char untrusted[] = "the certificate is not signed by a trusted authority";
    check_server(kit.certs.good, "tidegate.test", &o, NULL);
    check_server(kit.certs.good, "TIDEGATE.test", &o, NULL);
    check_server(kit.certs.good, "tidegate.test.", &o, NULL);
    check_server(kit.certs.good, "a.wild.test", &o, NULL);
    check_server(kit.certs.good, "127.0.0.1", &o, NULL);
    check_server(kit.certs.good, "::1", &o, NULL);
    check_server(kit.certs.good, "wild.test", &o, wrong_name);
    check_server(kit.certs.good, "a.b.wild.test", &o, wrong_name);
    check_server(kit.certs.good, "other.test", &o, wrong_name);
    check_server(kit.certs.good, "127.0.0.2", &o, wrong_name);
    check_server(kit.certs.good, "::2", &o, wrong_name);
    check_server(kit.certs.no_names, "tidegate.test", &o, wrong_name);
    check_server(kit.certs.no_names, "127.0.0.1", &o, wrong_name);
    check_server(kit.certs.expired, "tidegate.test", &o, "the certificate has expired");
    check_server(kit.certs.self, "tidegate.test", &o, untrusted);
    o.ca_file = kit.certs.other_ca;
    check_server(kit.certs.good, "tidegate.test", &o, untrusted);
    check_server(kit.certs.good, "127.0.0.1", &o, untrusted);
    o = (struct tls_client_options){.ca_file = kit.certs.ca, .server_name = "tidegate.test"};
    check_server(kit.certs.good, "other.test", &o, NULL);
}

static void test_pin(void **state)
{
    (void)state;
    static const char wrong[] = "the server's public key is not the pinned one";
    static const char other_pin[] = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
    struct tls_client_options o = {.ca_file = kit.certs.ca, .pin_sha256 = kit.certs.pin};
    check_server(kit.certs.good, "tidegate.test", &o, NULL);
    check_server(kit.certs.good, "other.test", &o, "the certificate is for another name");
    o.pin_sha256 = other_pin;
    check_server(kit.certs.good, "tidegate.test", &o, wrong);
    o.is_insecure = true;
    check_server(kit.certs.good, "tidegate.test", &o, wrong);
    o.pin_sha256 = kit.certs.pin;
    check_server(kit.certs.self, "other.test", &o, NULL);
    o.pin_sha256 = NULL;
    check_server(kit.certs.expired, "other.test", &o, NULL);
    assert_true(tls_config_is_pin(kit.certs.pin));
    assert_false(tls_config_is_pin("c2hvcnQ="));
    assert_false(tls_config_is_pin("not base64"));
}

static void check_no_config(const char *cert, const char *key, const char *expected)
{
    char buffer[512];
    struct text t;
    struct tls_config *config = NULL;
    struct tls_server_options o = {.pairs = {{cert, key}}, .pair_count = 1};
    text_init(&t, buffer, sizeof buffer);
    assert_true(tls_config_new_server(&o, &config, &t) < 0);
    assert_null(config);
    if (strstr(buffer, expected) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", buffer, expected);
}

static void test_bad_files(void **state)
{
    (void)state;
    check_no_config("/nowhere.pem", kit.certs.key, "certificate /nowhere.pem: cannot be read");
    check_no_config(kit.certs.good, "/nowhere.pem", "key /nowhere.pem: cannot be read");
    check_no_config(kit.certs.good, kit.certs.other_key, "is not that of the first certificate");
    check_no_config(kit.certs.key, kit.certs.key, "certificate");
    check_no_config(kit.certs.client, kit.certs.key, "is not for servers");
    char buffer[512];
    struct text t;
    struct tls_config *config = NULL;
    struct tls_client_options o = {.ca_file = kit.certs.key};
    text_init(&t, buffer, sizeof buffer);
    assert_true(tls_config_new_client(&o, &config, &t) < 0);
    assert_non_null(strstr(buffer, "CA file"));
}

/* ---- which certificate is shown ---- */

/* The subject of what a client is shown that asks for `name` (NULL: for none). */
static void check_shown(const char *name, const int *suites, const char *expected)
{
    char subject[64];
    struct tls_raw raw;
    tls_raw_open(&raw);
    if (suites != NULL) {
        tls_raw_speak_tls12(&raw);
        mbedtls_ssl_conf_ciphersuites(&raw.config, suites);
    }
    raw.host = name;
    assert_int_equal(tls_raw_shake(&raw), 0);
    assert_true(mbedtls_x509_dn_gets(subject, sizeof subject,
                                     &mbedtls_ssl_get_peer_cert(&raw.ssl)->subject) > 0);
    assert_string_equal(subject, expected);
    tls_raw_end(&raw);
}

static void test_certificate_by_name(void **state)
{
    (void)state;
    struct tls_server_options o = {
        .pairs = {{kit.certs.good, kit.certs.key}, {kit.certs.second, kit.certs.other_key}},
        .pair_count = 2};
    kit_configure(NULL, &o);
    check_shown(NULL, NULL, "CN=tidegate.test");
    check_shown("tidegate.test", NULL, "CN=tidegate.test");
    check_shown("a.wild.test", NULL, "CN=tidegate.test");
    check_shown("second.test", NULL, "CN=second");
    check_shown("SECOND.test", NULL, "CN=second");
    check_shown("third.test", NULL, "CN=tidegate.test");
    check_shown("127.0.0.1", NULL, "CN=tidegate.test");
    char much[256];
    memset(much, 'a', sizeof much - 1);
    much[sizeof much - 1] = '\0';
    check_shown(much, NULL, "CN=tidegate.test");
    kit_configure_usual();
}

/* Both kinds of keys for one name: the client's suites decide. */
static void test_certificate_by_key(void **state)
{
    (void)state;
    static const int rsa[] = {MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, 0};
    static const int ecdsa[] = {MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 0};
    struct tls_server_options o = {.pairs = {{kit.certs.second, kit.certs.other_key},
                                             {kit.certs.good, kit.certs.key},
                                             {kit.certs.rsa, kit.certs.rsa_key}},
                                   .pair_count = 3};
    assert_true(tls_certs_make_rsa(&kit.certs));
    kit_configure(NULL, &o);
    check_shown("tidegate.test", rsa, "CN=rsa");
    check_shown("tidegate.test", ecdsa, "CN=tidegate.test");
    check_shown("second.test", ecdsa, "CN=second");
    o.pairs[0] = o.pairs[2];
    o.pair_count = 2;
    kit_configure(NULL, &o);
    check_shown(NULL, rsa, "CN=rsa");
    check_shown(NULL, ecdsa, "CN=tidegate.test"); /* the second one, for a name of the first */
    check_shown("third.test", ecdsa, "CN=tidegate.test");
    kit_configure_usual();
}

static void test_bad_files_of_many(void **state)
{
    (void)state;
    char buffer[512];
    struct text t;
    struct tls_config *config = NULL;
    struct tls_server_options o = {
        .pairs = {{kit.certs.good, kit.certs.key}, {kit.certs.second, kit.certs.key}},
        .pair_count = 2};
    text_init(&t, buffer, sizeof buffer);
    assert_true(tls_config_new_server(&o, &config, &t) < 0);
    assert_non_null(strstr(buffer, kit.certs.second));
    assert_null(strstr(buffer, kit.certs.good));
    for (size_t i = 0; i < TLS_PAIRS_MAX; i++)
        o.pairs[i] = o.pairs[0];
    o.pair_count = TLS_PAIRS_MAX;
    kit_configure(NULL, &o);
    check_shown("tidegate.test", NULL, "CN=tidegate.test");
    kit_configure_usual();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_72_chain_and_name),  cmocka_unit_test(test_pin),
        cmocka_unit_test(test_bad_files),          cmocka_unit_test(test_certificate_by_name),
        cmocka_unit_test(test_certificate_by_key), cmocka_unit_test(test_bad_files_of_many),
    };
    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
