#include "client.h"

#include "connect.h"
#include "half_close.h"
#include "tally.h"
#include "wire_tap.h"
#include "ws_duplex.h"
#include "ws_handshake.h"

#include <stdlib.h>
#include <string.h>

#define STEP_MS        40
#define CONNECT_MS     5000
#define RESPONSE_BYTES 4096

/* Cut where no line ends: what is one write to one side need not be one read to the other. */
static const char *const pieces[] = {
    "The tide comes in,\nthe tide ",
    "goes out,\nand neither ",
    "waits for the other.\n",
};

/* They outlive the client: its connection closes behind its back. */
static const struct stream_options stream_options = {.linger_ms = 5000};
static const struct ws_duplex_config ws_config = {.linger_ms = 5000, .close_timeout_ms = 5000};

struct demo_client {
    struct loop *loop;
    struct timeline *timeline;
    struct duplex *stream; /* NULL once it has ended */
    struct ws_head *head;  /* until the handshake is done */
    struct ws_ask ask;
    struct deadline step;
    struct tally tally; /* of what is sent */
    size_t next_piece;
    size_t answer_len; /* of `answer`; more may have been received */
    char answer[TALLY_TEXT_MAX];
    bool has_ended, is_finished;
    struct demo_client_report report;
    void (*on_over)(void *arg, const struct demo_client_report *report);
    void *arg;
};

static void note(struct demo_client *c, enum timeline_lane lane, enum timeline_mood mood,
                 const char *what)
{
    timeline_note(c->timeline, "client", lane, mood, "%s", what);
}

static void client_over(struct demo_client *c)
{
    char expected[TALLY_TEXT_MAX];
    size_t len = tally_finish(&c->tally, expected);

    c->report.is_right = c->report.has_finished && c->report.received == len &&
                         c->answer_len == len && memcmp(c->answer, expected, len) == 0;
    deadline_clear(loop_scheduler(c->loop), &c->step);
    c->on_over(c->arg, &c->report);
    ws_head_free(c->head);
    free(c);
}

/* ---- sending ---- */

static void send_piece(struct demo_client *c)
{
    char copy[64]; /* the duplex masks in place */
    size_t len = strlen(pieces[c->next_piece]);
    struct span span = {(uint8_t *)copy, len};

    memcpy(copy, pieces[c->next_piece], len);
    c->next_piece++;
    timeline_note(c->timeline, "client", LANE_UP, MOOD_PLAIN, "sends %zu bytes", len);
    tally_add(&c->tally, span);
    c->report.sent += len;
    duplex_write(c->stream, &span, 1);
}

static void on_step(struct deadline *d)
{
    struct demo_client *c = container_of(d, struct demo_client, step);

    if (c->next_piece < array_count(pieces)) {
        send_piece(c);
        deadline_set(loop_scheduler(c->loop), d, STEP_MS);
        return;
    }
    note(c, LANE_UP, MOOD_END,
         c->ask.is_plain ? "is finished: has to close" : "is finished, goes on reading");
    duplex_finish(c->stream);
}

/* ---- the WebSocket ---- */

static void on_ws_data(void *owner, struct span data)
{
    struct demo_client *c = owner;
    size_t room = sizeof(c->answer) - c->answer_len;
    size_t len = data.len < room ? data.len : room;

    timeline_note(c->timeline, "client", LANE_DOWN, MOOD_PLAIN, "reads %zu bytes", data.len);
    memcpy(c->answer + c->answer_len, data.data, len);
    c->answer_len += len;
    c->report.received += data.len;
}

static void close_if_complete(struct demo_client *c)
{
    if (!c->has_ended || !c->is_finished)
        return;
    c->report.has_finished = true;
    duplex_close(c->stream);
    client_over(c);
}

static void on_ws_end(void *owner)
{
    struct demo_client *c = owner;

    if (c->report.received == 0)
        note(c, LANE_DOWN, MOOD_BAD, "is closed, without an answer");
    else
        note(c, LANE_DOWN, MOOD_END, "reads end of file");
    c->has_ended = true;
    close_if_complete(c);
}

static void on_ws_finished(void *owner)
{
    struct demo_client *c = owner;

    c->is_finished = true;
    close_if_complete(c);
}

static void on_abort(void *owner, struct cause cause)
{
    struct demo_client *c = owner;

    note(c, LANE_DOWN, MOOD_BAD, cause_text(cause.what));
    client_over(c);
}

static void on_drain(void *owner)
{
    (void)owner; /* what is sent is short */
}

static const struct duplex_events ws_events = {on_ws_data, on_ws_end, on_abort, on_drain,
                                               on_ws_finished};

/* ---- the handshake ---- */

static void fail(struct demo_client *c, const char *problem)
{
    note(c, LANE_DOWN, MOOD_BAD, problem);
    duplex_abort(c->stream, (struct cause){.what = CAUSE_BAD_HANDSHAKE});
    client_over(c);
}

static void open_websocket(struct demo_client *c, enum ws_carrier carrier, struct span early)
{
    struct scheduler *s = loop_scheduler(c->loop);
    struct duplex *tap, *ws;

    duplex_pause(c->stream);
    tap = wire_tap_new(s, c->stream, carrier, c->timeline);
    if (tap == NULL) {
        fail(c, "out of memory");
        return;
    }
    c->stream = tap;
    wire_tap_show_early(tap, early);
    ws = ws_duplex_new(s, tap, WS_CLIENT, carrier, &ws_config, early);
    if (ws == NULL) {
        fail(c, "out of memory");
        return;
    }
    c->stream = ws;
    duplex_own(ws, &ws_events, c);
    duplex_resume(ws);
    on_step(&c->step);
}

static void on_response(struct demo_client *c, struct span early)
{
    enum ws_carrier carrier;
    const char *problem = "";

    if (ws_handshake_check(c->head, &c->ask, &carrier, &problem) < 0) {
        fail(c, problem);
        return;
    }
    if (!c->ask.is_plain && carrier != WS_EXTENSION) {
        fail(c, "the proxy did not accept the extension");
        return;
    }
    timeline_note(c->timeline, "wire", LANE_DOWN, MOOD_PLAIN, "101, %s",
                  c->ask.is_plain ? "no half-close" : HALF_CLOSE_EXTENSION);
    ws_head_free(c->head);
    c->head = NULL;
    open_websocket(c, carrier, early);
}

static void on_head_data(void *owner, struct span data)
{
    struct demo_client *c = owner;

    switch (ws_head_feed(c->head, &data)) {
    case WS_HEAD_MORE:
        return;
    case WS_HEAD_DONE:
        on_response(c, data);
        return;
    case WS_HEAD_FAILED:
        fail(c, ws_head_problem(c->head));
        return;
    }
}

static void on_head_end(void *owner)
{
    fail(owner, "closed before the handshake was done");
}

static const struct duplex_events head_events = {on_head_data, on_head_end, on_abort, on_drain,
                                                 on_drain};

static void on_connected(void *owner, struct duplex *stream, struct cause cause)
{
    struct demo_client *c = owner;
    char request[RESPONSE_BYTES];
    struct text t;

    if (stream == NULL) {
        on_abort(c, cause);
        return;
    }
    c->stream = stream;
    text_init(&t, request, sizeof(request));
    c->head = ws_head_new(WS_CLIENT);
    if (c->head == NULL || ws_handshake_ask(&c->ask, &t) < 0) {
        fail(c, "no memory or no random numbers for a handshake");
        return;
    }
    timeline_note(c->timeline, "wire", LANE_UP, MOOD_PLAIN, "GET, %s",
                  c->ask.is_plain ? "no half-close" : "offers half-close");
    struct span span = {(uint8_t *)t.data, t.len};
    duplex_own(stream, &head_events, c);
    duplex_write(stream, &span, 1);
    duplex_resume(stream);
}

struct demo_client *
demo_client_start(struct loop *l, const struct address *proxy, bool is_plain,
                  struct timeline *timeline,
                  void (*on_over)(void *arg, const struct demo_client_report *report), void *arg)
{
    struct demo_client *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    c->loop = l;
    c->timeline = timeline;
    c->on_over = on_over;
    c->arg = arg;
    c->ask.host = "demo";
    c->ask.target = "/";
    c->ask.is_plain = is_plain;
    c->ask.offers_extension = !is_plain;
    tally_init(&c->tally);
    deadline_init(&c->step, on_step);
    if (connect_start(l, proxy, CONNECT_MS, &stream_options, on_connected, c) == NULL) {
        tally_clear(&c->tally);
        free(c);
        return NULL;
    }
    return c;
}
