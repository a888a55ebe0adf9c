/* What is not TLS, and what a peer may send that ours never does. */
#include "tls_kit.h"
#include "tls_raw.h"

static void test_71_garbage_in_mid_stream(void **state)
{
    (void)state;
    static const uint8_t record[] = {23, 3, 3, 0, 40, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    uint8_t garbage[45] = {0};
    memcpy(garbage, record, sizeof record);
    for (int is_record = 0; is_record < 2; is_record++) {
        kit_open_and_shake();
        side_send(&kit.side[CLIENT], 100);
        garbage[0] = is_record ? 23 : 0xff;
        kit_write_raw(CLIENT, garbage, sizeof garbage);
        kit_flow();
        assert_true(side_has_whole(&kit.side[CLIENT], &kit.side[SERVER]));
        assert_string_equal(kit.side[SERVER].told, "ABORT;");
        assert_int_equal(kit.side[SERVER].cause.what, CAUSE_TLS);
        assert_true(kit.side[SERVER].cause.native < 0);
        assert_true(kit.wire.end[SERVER].is_aborted);
        kit_end();
    }
}

static void test_71_garbage_for_a_handshake(void **state)
{
    (void)state;
    for (uint8_t seed = 0; seed < 200; seed++) {
        uint8_t garbage[600];
        for (size_t i = 0; i < sizeof garbage; i++)
            garbage[i] = (uint8_t)((i * 7919 + seed * 104729u) >> 5);
        garbage[0] = seed % 2 ? 22 : (uint8_t)(0x80 | seed);
        if (seed % 4 == 3)
            memcpy(garbage, (uint8_t[]){22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3}, 11);
        kit_open_wire();
        kit.options[SERVER] = (struct tls_duplex_options){0};
        kit_own(CLIENT, &kit.wire.end[CLIENT].duplex);
        kit_open_tls(SERVER);
        kit_write_raw(CLIENT, garbage, sizeof garbage);
        kit_flow();
        duplex_finish(&kit.wire.end[CLIENT].duplex);
        kit_flow();
        assert_string_equal(kit.side[SERVER].told, "ABORT;");
        assert_true(kit.side[SERVER].cause.what == CAUSE_TLS ||
                    kit.side[SERVER].cause.what == CAUSE_LOST);
        kit_end();
    }
}

static void test_71_plain_http_gets_an_answer(void **state)
{
    (void)state;
    kit_open_wire();
    kit.options[SERVER] = (struct tls_duplex_options){0};
    kit_own(CLIENT, &kit.wire.end[CLIENT].duplex);
    kit_open_tls(SERVER);
    kit_write_raw(CLIENT, "GET / HTTP/1.1\r\n", 16);
    kit_flow();
    assert_memory_equal(kit.side[CLIENT].raw, kit_answer, strlen(kit_answer));
    assert_string_equal(kit.side[CLIENT].told, "END;");
    assert_string_equal(kit.side[SERVER].told, "ABORT;");
    char buffer[128];
    struct text t;
    text_init(&t, buffer, sizeof buffer);
    tls_config_describe(kit.side[SERVER].cause.native, &t);
    assert_string_equal(buffer, "HTTP without TLS on a TLS port");
    kit_end();
}

static void test_peer_leaves_in_the_handshake(void **state)
{
    (void)state;
    for (int is_reset = 0; is_reset < 2; is_reset++)
        for (size_t steps = 0; steps < 1500; steps += 50) {
            kit_open_both();
            for (size_t i = 0; i < steps; i++) {
                scheduler_run_tasks(&kit.scheduler);
                memory_pipe_step(&kit.wire, CLIENT, 1);
                memory_pipe_step(&kit.wire, SERVER, 1);
            }
            bool was_open = tls_duplex_is_open(kit.side[CLIENT].duplex);
            if (is_reset)
                side_abort(&kit.side[CLIENT]);
            else
                side_close(&kit.side[CLIENT]);
            kit_flow();
            const char *last = was_open && !is_reset ? "END;" : "ABORT;";
            assert_non_null(strstr(kit.side[SERVER].told, last));
            if (!was_open)
                assert_int_equal(kit.side[SERVER].cause.what, is_reset ? CAUSE_RESET : CAUSE_LOST);
            kit_end();
        }
}

/* ---- a peer that does what ours does not ---- */

static void with_raw_client(void (*act)(mbedtls_ssl_context *ssl))
{
    struct tls_raw raw;
    tls_raw_open(&raw);
    assert_int_equal(tls_raw_shake(&raw), 0);
    assert_string_equal(kit.side[SERVER].told, "OPEN;");
    kit.side[SERVER].told[0] = '\0';
    act(&raw.ssl);
    tls_raw_end(&raw);
}

static void act_write_behind_the_end(mbedtls_ssl_context *ssl)
{
    uint8_t data[] = {kit_byte_at(0), kit_byte_at(1)};
    assert_int_equal(mbedtls_ssl_write(ssl, data, 2), 2);
    assert_int_equal(mbedtls_ssl_close_notify(ssl), 0);
    assert_int_equal(mbedtls_ssl_write(ssl, (const uint8_t *)"late", 4), 4);
    kit_flow();
    assert_int_equal(kit.side[SERVER].received, 2);
    assert_string_equal(kit.side[SERVER].told, "END;");
    assert_int_equal(mbedtls_ssl_write(ssl, (const uint8_t *)"later", 5), 5);
    kit_flow();
    duplex_finish(kit.side[SERVER].duplex);
    kit_flow();
    assert_int_equal(kit.side[SERVER].received, 2);
    assert_string_equal(kit.side[SERVER].told, "END;FINISHED;");
}

static void test_bytes_behind_close_notify_are_ignored(void **state)
{
    (void)state;
    with_raw_client(act_write_behind_the_end);
}

static void act_empty_records(mbedtls_ssl_context *ssl)
{
    uint8_t byte = kit_byte_at(0);
    for (int i = 0; i < 3; i++)
        assert_int_equal(mbedtls_ssl_write(ssl, (const uint8_t *)"", 0), 0);
    assert_int_equal(mbedtls_ssl_write(ssl, &byte, 1), 1);
    kit_flow();
    assert_int_equal(kit.side[SERVER].received, 1);
    assert_string_equal(kit.side[SERVER].told, "");
    for (int i = 0; i < 500; i++)
        assert_int_equal(mbedtls_ssl_write(ssl, (const uint8_t *)"", 0), 0);
    kit_flow();
    assert_string_equal(kit.side[SERVER].told, "ABORT;"); /* a flood of them is an attack */
    assert_int_equal(kit.side[SERVER].cause.what, CAUSE_TLS);
}

static void test_71_empty_records_mean_nothing(void **state)
{
    (void)state;
    with_raw_client(act_empty_records);
}

/* Some send a warning right before what matters (Java before its close_notify). */
static void act_warn(mbedtls_ssl_context *ssl)
{
    uint8_t byte = kit_byte_at(0);
    assert_int_equal(mbedtls_ssl_send_alert_message(ssl, MBEDTLS_SSL_ALERT_LEVEL_WARNING,
                                                    MBEDTLS_SSL_ALERT_MSG_USER_CANCELED),
                     0);
    assert_int_equal(mbedtls_ssl_write(ssl, &byte, 1), 1);
    assert_int_equal(mbedtls_ssl_send_alert_message(ssl, MBEDTLS_SSL_ALERT_LEVEL_WARNING,
                                                    MBEDTLS_SSL_ALERT_MSG_USER_CANCELED),
                     0);
    assert_int_equal(mbedtls_ssl_close_notify(ssl), 0);
    kit_flow();
    assert_int_equal(kit.side[SERVER].received, 1);
    assert_string_equal(kit.side[SERVER].told, "END;");
}

static void test_74_a_warning_holds_nothing_up(void **state)
{
    (void)state;
    with_raw_client(act_warn);
}

static void act_renegotiate(mbedtls_ssl_context *ssl)
{
    int r = 0;
    for (int i = 0; i < 20; i++) {
        r = mbedtls_ssl_renegotiate(ssl);
        kit_flow();
    }
    assert_int_not_equal(r, 0);
    assert_int_equal(kit.side[SERVER].received, 0);
}

static void test_70_renegotiation_is_refused(void **state)
{
    (void)state;
    with_raw_client(act_renegotiate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_71_garbage_in_mid_stream),
        cmocka_unit_test(test_71_garbage_for_a_handshake),
        cmocka_unit_test(test_71_plain_http_gets_an_answer),
        cmocka_unit_test(test_peer_leaves_in_the_handshake),
        cmocka_unit_test(test_bytes_behind_close_notify_are_ignored),
        cmocka_unit_test(test_71_empty_records_mean_nothing),
        cmocka_unit_test(test_74_a_warning_holds_nothing_up),
        cmocka_unit_test(test_70_renegotiation_is_refused),
    };
    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
