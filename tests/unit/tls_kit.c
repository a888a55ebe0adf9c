#include "tls_kit.h"

#include <stdio.h>
#include <stdlib.h>

struct tls_kit kit;
const char kit_answer[] = "HTTP/1.1 400 Bad Request\r\n\r\nspeak TLS\n";

uint8_t kit_byte_at(uint64_t position)
{
    return (uint8_t)(position * 131 >> 3);
}

static void tell(struct side *s, const char *what)
{
    size_t used = strlen(s->told);
    snprintf(s->told + used, sizeof s->told - used, "%s;", what);
}

static void on_data(void *owner, struct span data)
{
    struct side *s = owner;
    for (size_t i = 0; i < data.len; i++, s->received++) {
        if (s->received < sizeof s->raw)
            s->raw[s->received] = data.data[i];
        if (data.data[i] != kit_byte_at(s->received))
            s->has_wrong_bytes = true;
    }
    if (s->pauses_at_data)
        duplex_pause(s->duplex);
}

static void on_end(void *owner)
{
    tell(owner, "END");
}

static void on_abort(void *owner, struct cause cause)
{
    struct side *s = owner;
    s->cause = cause;
    s->is_over = true;
    tell(s, "ABORT");
}

static void on_drain(void *owner)
{
    tell(owner, "DRAIN");
}

static void on_finished(void *owner)
{
    tell(owner, "FINISHED");
}

void kit_on_open(void *owner)
{
    tell(owner, "OPEN");
}

const struct duplex_events kit_events = {on_data, on_end, on_abort, on_drain, on_finished};

void side_send(struct side *s, size_t n)
{
    uint8_t *data = malloc(n);
    assert_non_null(data);
    for (size_t i = 0; i < n; i++)
        data[i] = kit_byte_at(s->sent + i);
    size_t first = n < 7 ? n : 7; /* as a frame: a header, then the payload */
    duplex_write(s->duplex, (struct span[]){{data, first}, {data + first, n - first}}, 2);
    s->sent += n;
    free(data);
}

void kit_flow_by(size_t max)
{
    bool is_moving = true;
    while (is_moving) {
        scheduler_run_tasks(&kit.scheduler);
        is_moving = memory_pipe_step(&kit.wire, CLIENT, max);
        is_moving |= memory_pipe_step(&kit.wire, SERVER, max);
        is_moving |= scheduler_has_tasks(&kit.scheduler);
    }
}

void kit_flow(void)
{
    kit_flow_by(SIZE_MAX);
}

void kit_own(int which, struct duplex *d)
{
    kit.side[which] = (struct side){.duplex = d};
    duplex_own(d, &kit_events, &kit.side[which]);
    duplex_resume(d);
}

void kit_open_wire(void)
{
    scheduler_init(&kit.scheduler, 1000);
    memory_pipe_init(&kit.wire, 1 << 20);
}

void kit_open_tls(int which)
{
    kit.options[which].config = kit.configs[which];
    kit.options[which].linger_ms = 5000;
    if (kit.options[which].on_open == NULL)
        kit.options[which].on_open = kit_on_open;
    struct duplex *d =
        tls_duplex_new(&kit.scheduler, &kit.wire.end[which].duplex, &kit.options[which]);
    assert_non_null(d);
    kit_own(which, d);
}

void kit_open_both(void)
{
    kit_open_wire();
    kit.options[CLIENT] = (struct tls_duplex_options){.host = "tidegate.test"};
    kit.options[SERVER] = (struct tls_duplex_options){0};
    kit_open_tls(CLIENT);
    kit_open_tls(SERVER);
}

void kit_open_and_shake(void)
{
    kit_open_both();
    kit_flow();
    assert_string_equal(kit.side[CLIENT].told, "OPEN;");
    assert_string_equal(kit.side[SERVER].told, "OPEN;");
    kit.side[CLIENT].told[0] = kit.side[SERVER].told[0] = '\0';
}

void side_check_problem(const struct side *s, const char *expected)
{
    char buffer[256];
    struct text t;
    text_init(&t, buffer, sizeof buffer);
    assert_true(s->is_over);
    assert_int_equal(s->cause.what, CAUSE_TLS);
    tls_config_describe(s->cause.native, &t);
    assert_string_equal(buffer, expected);
}

void side_close(struct side *s)
{
    duplex_close(s->duplex);
    s->is_over = true;
}

void side_abort(struct side *s)
{
    duplex_abort(s->duplex, (struct cause){.what = CAUSE_CLOSED});
    s->is_over = true;
}

void kit_end(void)
{
    for (int i = 0; i < 2; i++)
        if (!kit.side[i].is_over)
            side_abort(&kit.side[i]);
    kit_flow();
    memory_pipe_clear(&kit.wire);
    assert_false(scheduler_has_tasks(&kit.scheduler));
}

bool side_has_whole(const struct side *from, const struct side *to)
{
    return to->received == from->sent && !to->has_wrong_bytes;
}

void kit_write_raw(int from, const void *data, size_t len)
{
    uint8_t copy[1024];
    assert_true(len <= sizeof copy);
    memcpy(copy, data, len);
    duplex_write(&kit.wire.end[from].duplex, &(struct span){copy, len}, 1);
}

int kit_set_up(void **state)
{
    (void)state;
    char buffer[512];
    struct text t;
    text_init(&t, buffer, sizeof buffer);
    if (!tls_certs_make(&kit.certs))
        return -1;
    struct tls_client_options client = {.ca_file = kit.certs.ca, .speaks_http = true};
    struct tls_server_options server = {
        .pairs = {{kit.certs.good, kit.certs.key}},
        .pair_count = 1,
        .plain_answer = {(uint8_t *)(uintptr_t)kit_answer, strlen(kit_answer)}};
    return tls_config_new_client(&client, &kit.configs[CLIENT], &t) |
           tls_config_new_server(&server, &kit.configs[SERVER], &t);
}

static struct tls_config *usual[2];

void kit_configure(const struct tls_client_options *client, const struct tls_server_options *server)
{
    char buffer[512];
    struct text t;
    text_init(&t, buffer, sizeof buffer);
    for (int i = 0; i < 2; i++)
        if (usual[i] == NULL)
            usual[i] = kit.configs[i];
        else if (kit.configs[i] != usual[i])
            tls_config_free(kit.configs[i]);
    kit.configs[CLIENT] = usual[CLIENT];
    kit.configs[SERVER] = usual[SERVER];
    if (client != NULL && tls_config_new_client(client, &kit.configs[CLIENT], &t) != 0)
        fail_msg("%s", buffer);
    if (server != NULL && tls_config_new_server(server, &kit.configs[SERVER], &t) != 0)
        fail_msg("%s", buffer);
}

void kit_configure_usual(void)
{
    kit_configure(NULL, NULL);
}

int kit_tear_down(void **state)
{
    (void)state;
    tls_config_free(kit.configs[CLIENT]);
    tls_config_free(kit.configs[SERVER]);
    tls_certs_remove(&kit.certs);
    return 0;
}
