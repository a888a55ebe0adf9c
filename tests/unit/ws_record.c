#include "ws_record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct record {
    char *text;
    size_t len, capacity;
    size_t message_begin; /* where the open message begins in text */
    bool is_open, is_over;
};

static void insist(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "ws_record: %s\n", what);
    abort();
}

static void add(struct record *r, const char *s, size_t len)
{
    if (r->capacity - r->len <= len) {
        r->capacity = (r->capacity + len) * 2 + 64;
        r->text = realloc(r->text, r->capacity);
    }
    if (r->text == NULL)
        abort();
    memcpy(r->text + r->len, s, len);
    r->len += len;
    r->text[r->len] = '\0';
}

static void add_word(struct record *r, const char *word, unsigned number)
{
    char s[64];
    int n = number > 0 ? snprintf(s, sizeof(s), "%s%s %u ", r->len > 0 ? " " : "", word, number)
                       : snprintf(s, sizeof(s), "%s%s ", r->len > 0 ? " " : "", word);
    add(r, s, (size_t)n);
}

static void add_hex(struct record *r, struct span bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        char s[3];
        snprintf(s, sizeof(s), "%02x", bytes.data[i]);
        add(r, s, 2);
    }
}

static void add_data(struct record *r, const struct ws_event *e)
{
    insist(e->is_first == !r->is_open, "is_first is wrong");
    insist(e->payload.len > 0 || e->is_last, "an empty piece that ends nothing");
    insist(e->opcode == WS_TEXT || e->opcode == WS_BINARY, "opcode of a message");
    if (e->is_first) {
        r->message_begin = r->len;
        add_word(r, "data", e->opcode);
    }
    add_hex(r, e->payload);
    if (e->is_last)
        add(r, ".", 1);
    r->is_open = !e->is_last;
}

static void add_event(struct record *r, const struct ws_event *e)
{
    insist(!r->is_over, "an event after the last");
    switch (e->type) {
    case WS_EVENT_DATA:
        add_data(r, e);
        return;
    case WS_EVENT_PING:
        add_word(r, "ping", 0);
        break;
    case WS_EVENT_PONG:
        add_word(r, "pong", 0);
        break;
    case WS_EVENT_CONTROL:
        add_word(r, "control", 0);
        break;
    case WS_EVENT_CLOSE:
        insist(ws_close_code_is_valid(e->code) || e->code == WS_CODE_NONE, "code of a Close");
        add_word(r, "close", e->code);
        r->is_over = true;
        break;
    case WS_EVENT_ERROR:
        insist(e->code == 1002 || e->code == 1007 || e->code == 4001, "code of an error");
        insist(e->problem != NULL && e->problem[0] != '\0', "an error without words");
        if (e->code == 1007 && r->is_open)
            r->text[r->len = r->message_begin] = '\0';
        add_word(r, "error", e->code);
        r->is_over = true;
        break;
    }
    insist(e->payload.len <= WS_CONTROL_MAX, "payload of a control frame");
    add_hex(r, e->payload);
}

static void feed(struct record *r, struct ws_reader *reader, const uint8_t *bytes, size_t len)
{
    uint8_t *block = malloc(len > 0 ? len : 1);
    insist(block != NULL, "out of memory");
    if (len > 0)
        memcpy(block, bytes, len);
    struct span in = {block, len};
    struct ws_event e;
    while (ws_reader_next(reader, &in, &e))
        add_event(r, &e);
    insist(in.len == 0 && in.data == block + len, "input was left");
    free(block);
}

char *ws_record(enum ws_role role, enum ws_carrier carrier, struct span bytes, size_t first,
                size_t step)
{
    struct record r = {0};
    struct ws_reader reader;
    ws_reader_init(&reader, role, carrier);
    insist(ws_reader_is_between_messages(&reader), "the beginning is between messages");
    add(&r, "", 0);
    feed(&r, &reader, bytes.data, first);
    for (size_t i = first; i < bytes.len; i += step)
        feed(&r, &reader, bytes.data + i, bytes.len - i < step ? bytes.len - i : step);
    insist(!r.is_open || !ws_reader_is_between_messages(&reader), "between messages inside one");
    ws_reader_clear(&reader);
    /* the space that ends a word is not part of the text */
    while (r.len > 0 && r.text[r.len - 1] == ' ')
        r.text[--r.len] = '\0';
    return r.text;
}

size_t ws_record_frame(uint8_t first_byte, const uint8_t *key, const void *payload, size_t len,
                       uint8_t *out)
{
    struct ws_frame_header h = {.fin = first_byte >> 7 != 0,
                                .rsv = first_byte >> 4 & 7,
                                .opcode = first_byte & 15,
                                .masked = key != NULL,
                                .length = len};
    if (key != NULL)
        memcpy(h.key, key, sizeof(h.key));
    size_t n = ws_frame_write(&h, out);
    if (len > 0)
        memcpy(out + n, payload, len);
    if (key != NULL)
        ws_frame_mask(out + n, len, h.key, 0);
    return n + len;
}
