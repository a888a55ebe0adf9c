/* The life of a TLS duplex: data, ends and breaks, and many of them at once. */
#include "tls_kit.h"

/* ---- data and ends ---- */

static void check_conversation(size_t step)
{
    kit_open_both();
    kit_flow_by(step);
    assert_true(tls_duplex_is_open(kit.side[CLIENT].duplex));
    assert_true(tls_duplex_is_open(kit.side[SERVER].duplex));
    side_send(&kit.side[CLIENT], 5);
    side_send(&kit.side[SERVER], 40000);
    kit_flow_by(step);
    side_send(&kit.side[CLIENT], 70000);
    duplex_finish(kit.side[CLIENT].duplex);
    duplex_finish(kit.side[CLIENT].duplex);
    kit_flow_by(step);
    assert_true(side_has_whole(&kit.side[CLIENT], &kit.side[SERVER]));
    assert_string_equal(kit.side[SERVER].told, "OPEN;END;");
    assert_string_equal(kit.side[CLIENT].told, "OPEN;FINISHED;");
    side_send(&kit.side[SERVER], 3);
    kit_flow_by(step);
    duplex_finish(kit.side[SERVER].duplex);
    kit_flow_by(step);
    assert_true(side_has_whole(&kit.side[SERVER], &kit.side[CLIENT]));
    assert_string_equal(kit.side[SERVER].told, "OPEN;END;FINISHED;");
    assert_string_equal(kit.side[CLIENT].told, "OPEN;FINISHED;END;");
    side_close(&kit.side[CLIENT]);
    side_close(&kit.side[SERVER]);
    kit_flow_by(step);
    assert_true(kit.wire.end[CLIENT].is_closed && kit.wire.end[SERVER].is_closed);
    kit_end();
}

static void test_conversation(void **state)
{
    (void)state;
    check_conversation(SIZE_MAX);
}

static void test_71_conversation_byte_by_byte(void **state)
{
    (void)state;
    check_conversation(1);
}

static void test_server_ends_first(void **state)
{
    (void)state;
    kit_open_and_shake();
    duplex_finish(kit.side[SERVER].duplex);
    kit_flow();
    assert_string_equal(kit.side[CLIENT].told, "END;");
    side_send(&kit.side[CLIENT], 100000);
    duplex_finish(kit.side[CLIENT].duplex);
    kit_flow();
    assert_true(side_has_whole(&kit.side[CLIENT], &kit.side[SERVER]));
    assert_string_equal(kit.side[CLIENT].told, "END;FINISHED;");
    assert_string_equal(kit.side[SERVER].told, "FINISHED;END;");
    kit_end();
}

static void test_write_before_the_handshake(void **state)
{
    (void)state;
    kit_open_both();
    side_send(&kit.side[CLIENT], 30000);
    duplex_finish(kit.side[CLIENT].duplex);
    assert_true(duplex_pending(kit.side[CLIENT].duplex) == 30000);
    kit_flow();
    assert_true(side_has_whole(&kit.side[CLIENT], &kit.side[SERVER]));
    assert_string_equal(kit.side[SERVER].told, "OPEN;END;");
    kit_end();
}

static void test_finish_without_the_end_of_the_transport(void **state)
{
    (void)state;
    kit_open_wire();
    kit.options[CLIENT] =
        (struct tls_duplex_options){.host = "127.0.0.1", .keeps_lower_open = true};
    kit.options[SERVER] = (struct tls_duplex_options){0};
    kit_open_tls(CLIENT);
    kit_open_tls(SERVER);
    duplex_finish(kit.side[CLIENT].duplex);
    kit_flow();
    scheduler_advance(&kit.scheduler, kit.scheduler.now_ms + 2000);
    kit_flow();
    assert_string_equal(kit.side[CLIENT].told, "OPEN;FINISHED;");
    assert_string_equal(kit.side[SERVER].told, "OPEN;END;");
    assert_false(kit.wire.end[CLIENT].is_finishing);
    side_send(&kit.side[SERVER], 10);
    kit_flow();
    assert_true(side_has_whole(&kit.side[SERVER], &kit.side[CLIENT]));
    kit_end();
}

static void test_back_pressure(void **state)
{
    (void)state;
    kit_open_and_shake();
    duplex_pause(kit.side[SERVER].duplex);
    uint8_t block[16384] = {0};
    bool is_full = false;
    int blocks = 0;
    for (; !is_full && blocks < 1000; blocks++)
        is_full = duplex_write(kit.side[CLIENT].duplex, &(struct span){block, sizeof block}, 1);
    assert_in_range(blocks, 60, 70); /* what the kit.wire takes, and no more */
    kit_flow();
    assert_true(duplex_pending(kit.side[CLIENT].duplex) > 1000000);
    assert_int_equal(kit.side[SERVER].received, 0);
    assert_string_equal(kit.side[CLIENT].told, "");
    duplex_resume(kit.side[SERVER].duplex);
    kit_flow();
    assert_int_equal(kit.side[SERVER].received, blocks * (int)sizeof block);
    assert_string_equal(kit.side[CLIENT].told, "DRAIN;");
    kit_end();
}

static void test_74_nothing_stays_inside(void **state)
{
    (void)state;
    kit_open_and_shake();
    kit.side[SERVER].pauses_at_data = true;
    side_send(&kit.side[CLIENT], 300000);
    duplex_finish(kit.side[CLIENT].duplex);
    kit_flow();
    assert_in_range(kit.side[SERVER].received, 1, 131072);
    for (int i = 0; i < 100 && kit.side[SERVER].received < 300000; i++) {
        duplex_resume(kit.side[SERVER].duplex);
        kit_flow();
    }
    duplex_resume(kit.side[SERVER].duplex);
    kit_flow();
    assert_true(side_has_whole(&kit.side[CLIENT], &kit.side[SERVER]));
    assert_string_equal(kit.side[SERVER].told, "END;");
    kit_end();
}

/* ---- breaks ---- */

static void test_47_end_without_close_notify(void **state)
{
    (void)state;
    for (int from = CLIENT; from <= SERVER; from++) {
        struct side *peer = &kit.side[1 - from];
        kit_open_and_shake();
        side_send(&kit.side[from], 1000);
        duplex_finish(&kit.wire.end[from].duplex);
        kit_flow();
        assert_true(side_has_whole(&kit.side[from], peer));
        assert_string_equal(peer->told, "ABORT;");
        assert_int_equal(peer->cause.what, CAUSE_LOST);
        assert_true(kit.wire.end[1 - from].is_aborted);
        kit_end();
    }
}

static void test_abort_is_no_end(void **state)
{
    (void)state;
    kit_open_and_shake();
    side_send(&kit.side[CLIENT], 1000);
    side_abort(&kit.side[CLIENT]);
    kit_flow();
    assert_true(side_has_whole(&kit.side[CLIENT], &kit.side[SERVER]));
    assert_string_equal(kit.side[SERVER].told, "ABORT;");
    assert_int_equal(kit.side[SERVER].cause.what, CAUSE_RESET);
    kit_end();
}

static void test_abort_behind_what_a_paused_owner_has_not_taken(void **state)
{
    (void)state;
    for (int is_patient = 0; is_patient < 2; is_patient++) {
        kit_open_and_shake();
        duplex_pause(kit.side[SERVER].duplex);
        side_send(&kit.side[CLIENT], 60000);
        duplex_resume(&kit.wire.end[SERVER].duplex); /* the rest of a read under way */
        kit_flow();
        assert_int_equal(kit.side[SERVER].received, 0);
        memory_pipe_break(&kit.wire, CAUSE_RESET);
        kit_flow();
        assert_string_equal(kit.side[SERVER].told, "");
        if (is_patient) {
            scheduler_advance(&kit.scheduler, kit.scheduler.now_ms + 5000);
        } else {
            duplex_resume(kit.side[SERVER].duplex);
        }
        kit_flow();
        assert_string_equal(kit.side[SERVER].told, "ABORT;");
        assert_int_equal(kit.side[SERVER].cause.what, CAUSE_RESET);
        assert_int_equal(kit.side[SERVER].received, is_patient ? 0 : 60000);
        assert_false(kit.side[SERVER].has_wrong_bytes);
        kit_end();
    }
}

static void test_many_handshakes(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        kit_open_and_shake();
        side_send(&kit.side[CLIENT], 100);
        kit_flow();
        kit_end();
    }
}

/* ---- many at once ---- */

enum { CROWD = 6 };

static struct memory_pipe lines[CROWD];
static struct side crowd[CROWD][2];

static bool step_lines(int from)
{
    bool is_moving = false;
    for (int i = 0; i < CROWD; i++)
        is_moving |= memory_pipe_step(&lines[i], from, SIZE_MAX);
    return is_moving;
}

static int told_answered; /* by all servers */

static void on_answered(void *owner)
{
    const struct side *s = owner;

    assert_string_equal(s->told, "");
    told_answered++;
}

static void open_crowd(void)
{
    scheduler_init(&kit.scheduler, 1000);
    kit.options[CLIENT] = (struct tls_duplex_options){.host = "tidegate.test"};
    kit.options[SERVER] = (struct tls_duplex_options){.on_answered = on_answered};
    told_answered = 0;
    for (int i = 0; i < CROWD; i++) {
        memory_pipe_init(&lines[i], 1 << 20);
        for (int role = 0; role < 2; role++) {
            kit.options[role].config = kit.configs[role];
            kit.options[role].on_open = kit_on_open;
            struct duplex *d =
                tls_duplex_new(&kit.scheduler, &lines[i].end[role].duplex, &kit.options[role]);
            assert_non_null(d);
            crowd[i][role] = (struct side){.duplex = d};
            duplex_own(d, &kit_events, &crowd[i][role]);
            duplex_resume(d);
        }
    }
}

static int answered(void)
{
    int count = 0;
    for (int i = 0; i < CROWD; i++)
        count += lines[i].end[SERVER].written > 0;
    return count;
}

static void flow_crowd(void)
{
    for (bool is_moving = true; is_moving;) {
        scheduler_run_tasks(&kit.scheduler);
        is_moving = step_lines(CLIENT);
        is_moving |= step_lines(SERVER);
        is_moving |= scheduler_has_tasks(&kit.scheduler);
    }
}

static void end_crowd(void)
{
    for (int i = 0; i < CROWD; i++)
        for (int role = 0; role < 2; role++)
            if (!crowd[i][role].is_over)
                side_abort(&crowd[i][role]);
    flow_crowd();
    for (int i = 0; i < CROWD; i++)
        memory_pipe_clear(&lines[i]);
    assert_false(scheduler_has_tasks(&kit.scheduler));
}

/* All begin in the same turn: each turn one client speaks; then one server answers. What comes
 * meanwhile is not read. */
static void test_one_handshake_a_turn(void **state)
{
    (void)state;
    open_crowd();
    for (int turn = 1; turn <= CROWD; turn++) {
        scheduler_run_tasks(&kit.scheduler);
        int spoken = 0;
        for (int i = 0; i < CROWD; i++)
            spoken += lines[i].end[CLIENT].written > 0;
        assert_int_equal(spoken, turn);
    }
    step_lines(CLIENT);
    for (int turn = 1; turn <= CROWD; turn++) {
        for (int i = 0; i < CROWD; i++)
            assert_int_equal(lines[i].end[SERVER].is_paused, i >= turn - 1);
        scheduler_run_tasks(&kit.scheduler);
        assert_int_equal(answered(), turn);
        assert_int_equal(told_answered, turn);
    }
    flow_crowd();
    assert_int_equal(told_answered, CROWD);
    for (int i = 0; i < CROWD; i++) {
        assert_string_equal(crowd[i][CLIENT].told, "OPEN;");
        assert_string_equal(crowd[i][SERVER].told, "OPEN;");
        side_send(&crowd[i][CLIENT], 1000);
    }
    assert_true(step_lines(CLIENT)); /* data is told at once, in no task */
    for (int i = 0; i < CROWD; i++)
        assert_true(side_has_whole(&crowd[i][CLIENT], &crowd[i][SERVER]));
    end_crowd();
}

/* However one leaves that waits for its turn, the others have theirs. */
static void test_leaving_before_its_turn(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        open_crowd();
        for (int turn = 0; turn < CROWD; turn++)
            scheduler_run_tasks(&kit.scheduler);
        step_lines(CLIENT);
        scheduler_run_tasks(&kit.scheduler);
        assert_int_equal(answered(), 1);
        if (how == 0) {
            side_abort(&crowd[2][SERVER]);
        } else if (how == 1) {
            side_close(&crowd[2][SERVER]);
        } else if (how == 2) {
            side_abort(&crowd[2][CLIENT]);
        } else {
            memory_pipe_break(&lines[2], CAUSE_RESET);
        }
        flow_crowd();
        for (int i = 0; i < CROWD; i++)
            assert_int_equal(strcmp(crowd[i][SERVER].told, "OPEN;") == 0, i != 2);
        end_crowd();
    }
}

/* ---- what came before it ---- */

/* The server's owner has read `n` bytes of the client's first message when it asks for TLS. */
static void open_late(size_t n)
{
    uint8_t early[4096];

    kit_open_wire();
    kit.options[CLIENT] = (struct tls_duplex_options){.host = "tidegate.test"};
    kit_open_tls(CLIENT);
    scheduler_run_tasks(&kit.scheduler);
    kit_own(SERVER, &kit.wire.end[SERVER].duplex);
    memory_pipe_step(&kit.wire, CLIENT, n);
    duplex_pause(kit.side[SERVER].duplex);
    n = (size_t)kit.side[SERVER].received;
    memcpy(early, kit.side[SERVER].raw, n);
    kit.options[SERVER] = (struct tls_duplex_options){.early = {early, n}};
    kit_open_tls(SERVER);
    memset(early, 0, sizeof(early)); /* it was copied */
}

static void test_bytes_that_came_before_it(void **state)
{
    static const size_t portions[] = {1, 4, 5, 6, 50, 100, SIZE_MAX};

    (void)state;
    for (size_t i = 0; i < array_count(portions); i++) {
        open_late(portions[i]);
        kit_flow();
        assert_string_equal(kit.side[SERVER].told, "OPEN;");
        side_send(&kit.side[CLIENT], 40000);
        duplex_finish(kit.side[CLIENT].duplex);
        kit_flow();
        assert_true(side_has_whole(&kit.side[CLIENT], &kit.side[SERVER]));
        assert_string_equal(kit.side[SERVER].told, "OPEN;END;");
        kit_end();
    }
}

/* It may be over before it has looked at them: nothing is lost but them. */
static void test_over_with_bytes_that_came_before_it(void **state)
{
    (void)state;
    for (int how = 0; how < 3; how++) {
        open_late(100);
        if (how == 0)
            side_abort(&kit.side[SERVER]);
        else if (how == 1)
            side_close(&kit.side[SERVER]);
        else
            memory_pipe_break(&kit.wire, CAUSE_RESET);
        kit_flow();
        assert_string_equal(kit.side[SERVER].told, how < 2 ? "" : "ABORT;");
        kit_end();
    }
}

static void test_plain_http_came_before_it(void **state)
{
    static const char request[] = "GET / HTTP/1.1\r\n";
    char early[sizeof(request)];

    (void)state;
    memcpy(early, request, sizeof(request));
    kit_open_wire();
    kit_own(CLIENT, &kit.wire.end[CLIENT].duplex);
    kit.options[SERVER] =
        (struct tls_duplex_options){.early = {(uint8_t *)early, sizeof(request) - 1}};
    kit_open_tls(SERVER);
    kit_flow();
    assert_memory_equal(kit.side[CLIENT].raw, kit_answer, strlen(kit_answer));
    side_check_problem(&kit.side[SERVER], "HTTP without TLS on a TLS port");
    kit_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_that_came_before_it),
        cmocka_unit_test(test_over_with_bytes_that_came_before_it),
        cmocka_unit_test(test_plain_http_came_before_it),
        cmocka_unit_test(test_conversation),
        cmocka_unit_test(test_71_conversation_byte_by_byte),
        cmocka_unit_test(test_server_ends_first),
        cmocka_unit_test(test_write_before_the_handshake),
        cmocka_unit_test(test_finish_without_the_end_of_the_transport),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_74_nothing_stays_inside),
        cmocka_unit_test(test_47_end_without_close_notify),
        cmocka_unit_test(test_abort_is_no_end),
        cmocka_unit_test(test_abort_behind_what_a_paused_owner_has_not_taken),
        cmocka_unit_test(test_many_handshakes),
        cmocka_unit_test(test_one_handshake_a_turn),
        cmocka_unit_test(test_leaving_before_its_turn),
    };
    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
