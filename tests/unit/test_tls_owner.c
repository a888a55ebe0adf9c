/* What the owner of a TLS duplex may do inside an event: leave, pause, write, end. It hears nothing
 * more once it has left. */
#include "tls_kit.h"

#include <stdlib.h>

enum event { DATA, OPEN, END };

static struct {
    enum event event;
    void (*act)(struct side *s);
    int calls_after; /* data told to an owner that has left or has paused */
    bool has_acted;
} plan;

static void act_at(enum event event, struct side *s)
{
    if (plan.has_acted && event == DATA)
        plan.calls_after++;
    if (event != plan.event || plan.has_acted)
        return;
    plan.has_acted = true;
    plan.act(s);
}

static void on_data(void *owner, struct span data)
{
    kit_events.on_data(owner, data);
    act_at(DATA, owner);
}

static void on_end(void *owner)
{
    kit_events.on_end(owner);
    act_at(END, owner);
}

static void on_open(void *owner)
{
    kit_on_open(owner);
    act_at(OPEN, owner);
}

static struct duplex_events events; /* the kit's, with these */

static void act_pause(struct side *s)
{
    duplex_pause(s->duplex);
}

static void act_end(struct side *s)
{
    duplex_finish(s->duplex);
}

static void act_write(struct side *s)
{
    side_send(s, 10);
}

static void start(enum event event, void (*act)(struct side *s))
{
    plan.event = event;
    plan.act = act;
    plan.calls_after = 0;
    plan.has_acted = false;
    events = kit_events;
    events.on_data = on_data;
    events.on_end = on_end;
    kit_open_wire();
    kit.options[CLIENT] = (struct tls_duplex_options){.host = "tidegate.test"};
    kit.options[SERVER] = (struct tls_duplex_options){.on_open = on_open};
    kit_open_tls(CLIENT);
    kit_open_tls(SERVER);
    duplex_own(kit.side[SERVER].duplex, &events, &kit.side[SERVER]);
}

/* All that waits in the network comes in one read, as from a socket with a large buffer. */
static void read_all_at_once(void)
{
    struct memory_end *from = &kit.wire.end[CLIENT], *to = &kit.wire.end[SERVER];
    size_t len = queue_size(&from->out), used = 0;
    uint8_t *all = malloc(len);
    struct span next;
    assert_non_null(all);
    while (queue_peek(&from->out, &next, 1) > 0) {
        memcpy(all + used, next.data, next.len);
        used += next.len;
        queue_drop(&from->out, next.len);
    }
    to->duplex.events->on_data(to->duplex.owner, (struct span){all, len});
    free(all);
}

/* More than is decrypted at a time, and the end behind it. */
static void send_much(void)
{
    kit_flow();
    kit.side[SERVER].told[0] = '\0';
    side_send(&kit.side[CLIENT], 300000);
    duplex_finish(kit.side[CLIENT].duplex);
    read_all_at_once();
}

static void test_leaving_at_data(void **state)
{
    (void)state;
    void (*const ways[])(struct side *) = {side_close, side_abort};
    for (int i = 0; i < 2; i++) {
        start(DATA, ways[i]);
        send_much();
        kit_flow();
        assert_true(plan.has_acted);
        assert_int_equal(plan.calls_after, 0);
        assert_string_equal(kit.side[SERVER].told, "");
        assert_string_equal(kit.side[CLIENT].told,
                            i == 0 ? "OPEN;FINISHED;END;" : "OPEN;FINISHED;ABORT;");
        kit_end();
    }
}

static void test_pausing_at_data(void **state)
{
    (void)state;
    start(DATA, act_pause);
    send_much();
    kit_flow();
    assert_int_equal(plan.calls_after, 0);
    assert_string_equal(kit.side[SERVER].told, "");
    duplex_resume(kit.side[SERVER].duplex);
    kit_flow();
    assert_true(side_has_whole(&kit.side[CLIENT], &kit.side[SERVER]));
    assert_string_equal(kit.side[SERVER].told, "END;");
    kit_end();
}

static void test_leaving_when_open(void **state)
{
    (void)state;
    void (*const ways[])(struct side *) = {side_close, side_abort};
    for (int i = 0; i < 2; i++) {
        start(OPEN, ways[i]);
        side_send(&kit.side[SERVER], 10); /* would be drained next */
        kit_flow();
        assert_string_equal(kit.side[SERVER].told, "OPEN;");
        assert_string_equal(kit.side[CLIENT].told, i == 0 ? "OPEN;END;" : "OPEN;ABORT;");
        assert_true(side_has_whole(&kit.side[SERVER], &kit.side[CLIENT]));
        kit_end();
    }
}

static void test_leaving_at_the_end(void **state)
{
    (void)state;
    void (*const ways[])(struct side *) = {side_close, side_abort};
    for (int i = 0; i < 2; i++) {
        start(END, ways[i]);
        send_much();
        kit_flow();
        assert_true(side_has_whole(&kit.side[CLIENT], &kit.side[SERVER]));
        assert_string_equal(kit.side[SERVER].told, "END;");
        assert_string_equal(kit.side[CLIENT].told,
                            i == 0 ? "OPEN;FINISHED;END;" : "OPEN;FINISHED;ABORT;");
        kit_end();
    }
}

/* A full that was told is not taken back by a write in on_open: on_drain comes. */
static void test_writing_when_open(void **state)
{
    (void)state;
    start(OPEN, act_write);
    side_send(&kit.side[SERVER], 10);
    kit_flow();
    assert_string_equal(kit.side[SERVER].told, "OPEN;DRAIN;");
    assert_int_equal(kit.side[CLIENT].received, 20);
    kit_end();
}

static void test_ending_at_data_and_when_open(void **state)
{
    (void)state;
    const enum event at[] = {OPEN, DATA};
    for (int i = 0; i < 2; i++) {
        start(at[i], act_end);
        send_much();
        kit_flow();
        assert_true(side_has_whole(&kit.side[CLIENT], &kit.side[SERVER]));
        assert_non_null(strstr(kit.side[SERVER].told, "END;"));
        assert_non_null(strstr(kit.side[CLIENT].told, "END;"));
        kit_end();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaving_at_data),
        cmocka_unit_test(test_pausing_at_data),
        cmocka_unit_test(test_leaving_when_open),
        cmocka_unit_test(test_leaving_at_the_end),
        cmocka_unit_test(test_writing_when_open),
        cmocka_unit_test(test_ending_at_data_and_when_open),
    };
    return cmocka_run_group_tests(tests, kit_set_up, kit_tear_down);
}
