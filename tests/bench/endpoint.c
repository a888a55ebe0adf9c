#include "endpoint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#define BUFFER_SIZE 262144
#define SIP_SIZE    64 /* a header, and whatever is behind it */
#define TURN        16 /* reads, or writes, before the others get their turn */

static uint8_t buffer[BUFFER_SIZE];

uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

/* ---- what is sent ---- */

/* One key serves: what it costs the server to take it off is the same. */
struct endpoint_message endpoint_message_new(size_t payload, bool is_websocket)
{
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    struct endpoint_message m = {.payload = payload};
    size_t extra = payload > UINT16_MAX ? 8 : payload > 125 ? 2 : 0;
    size_t head = is_websocket ? 2 + extra + sizeof(key) : 0;

    m.size = head + payload;
    m.data = malloc(m.size);
    if (m.data == NULL)
        die("out of memory");
    if (is_websocket) {
        m.data[0] = 0x82;
        m.data[1] = (uint8_t)(0x80 | (extra == 8 ? 127 : extra == 2 ? 126 : payload));
        for (size_t i = 0; i < extra; i++)
            m.data[2 + i] = (uint8_t)(payload >> 8 * (extra - 1 - i));
        memcpy(m.data + 2 + extra, key, sizeof(key));
    }
    for (size_t i = 0; i < payload; i++)
        m.data[head + i] = (uint8_t)(i * 31 ^ i >> 8);
    return m;
}

static bool has_something_to_send(const struct endpoint *e)
{
    if (e->is_silent)
        return false;
    switch (e->role) {
    case ENDPOINT_SINK:
        return false;
    case ENDPOINT_SOURCE:
        return true;
    case ENDPOINT_ECHO:
        return e->echo_end > e->echo_begin;
    case ENDPOINT_ASKER:
        return e->sent > 0 || e->received >= e->wanted;
    }
    return false;
}

/* LINK_OVER, LINK_LATER, or bytes. */
static ssize_t send_more(struct endpoint *e)
{
    if (e->role == ENDPOINT_ECHO) {
        ssize_t n = link_write(&e->link, e->echo + e->echo_begin, e->echo_end - e->echo_begin);
        if (n > 0)
            e->echo_begin += (size_t)n;
        return n;
    }
    const struct endpoint_message *m = e->message;
    if (e->role == ENDPOINT_ASKER && e->sent == 0) {
        e->asked_ns = now_ns();
        e->wanted += m->payload;
    }
    ssize_t n = link_write(&e->link, m->data + e->sent, m->size - e->sent);
    if (n > 0) {
        e->sent = (e->sent + (size_t)n) % m->size;
        e->sent_ever += (uint64_t)n;
    }
    return n;
}

static bool write_on(struct endpoint *e)
{
    for (int i = 0; i < TURN && has_something_to_send(e); i++) {
        ssize_t n = send_more(e);
        if (n == LINK_OVER)
            return false;
        if (n == LINK_LATER)
            break;
    }
    return true;
}

/* ---- what is received ---- */

/* A frame's header, byte by byte. True when it is whole. */
static bool take_head(struct endpoint *e, uint8_t byte)
{
    e->head[e->head_len++] = byte;
    if (e->head_len < 2)
        return false;
    size_t extra = e->head[1] == 127 ? 8 : e->head[1] == 126 ? 2 : 0;
    if (e->head[1] > 127)
        die("a masked frame from the server");
    if (e->head_len < 2 + extra)
        return false;
    e->frame_left = extra == 0 ? e->head[1] : 0;
    for (size_t i = 0; i < extra; i++)
        e->frame_left = e->frame_left << 8 | e->head[2 + i];
    e->is_data_frame = (e->head[0] & 15) <= 2;
    if ((e->head[0] & 15) == 8)
        die("the server has sent Close");
    e->head_len = 0;
    return true;
}

static void count_frames(struct endpoint *e, const uint8_t *data, size_t len)
{
    while (len > 0) {
        if (e->frame_left == 0) {
            take_head(e, *data++);
            len--;
            continue;
        }
        size_t n = len < e->frame_left ? len : (size_t)e->frame_left;
        if (e->is_data_frame)
            e->received += n;
        e->frame_left -= n;
        data += n;
        len -= n;
    }
}

static void count(struct endpoint *e, const uint8_t *data, size_t len)
{
    if (e->is_websocket)
        count_frames(e, data, len);
    else
        e->received += len;
    if (e->role == ENDPOINT_ASKER && e->wanted > 0 && e->received >= e->wanted)
        e->on_answer(now_ns() - e->asked_ns);
}

/* Nobody looks at what a sink reads: it is thrown away by the kernel, but for frames' headers. The
 * generator shall not be what limits a proxy. */
static ssize_t skip(struct endpoint *e)
{
    if (e->is_websocket && e->frame_left == 0) {
        ssize_t n = link_read(&e->link, buffer, SIP_SIZE);
        if (n > 0)
            count(e, buffer, (size_t)n);
        return n;
    }
    bool is_longer = !e->is_websocket || e->frame_left > BUFFER_SIZE;
    ssize_t n = link_skip(&e->link, is_longer ? BUFFER_SIZE : (size_t)e->frame_left);
    if (n > 0 && e->is_websocket)
        e->frame_left -= (uint64_t)n;
    if (n > 0 && (!e->is_websocket || e->is_data_frame))
        e->received += (uint64_t)n;
    return n;
}

static bool read_on(struct endpoint *e)
{
    uint8_t *into = buffer;

    if (e->role == ENDPOINT_ECHO) {
        if (e->echo == NULL && (e->echo = malloc(BUFFER_SIZE)) == NULL)
            die("out of memory");
        into = e->echo;
    }
    /* What OpenSSL holds, epoll does not know of: it is read to the end. */
    for (int i = 0; i < TURN || e->link.ssl != NULL; i++) {
        bool may_skip =
            e->link.ssl == NULL && (e->role == ENDPOINT_SINK || e->role == ENDPOINT_SOURCE);
        ssize_t n = may_skip ? skip(e) : link_read(&e->link, into, BUFFER_SIZE);
        if (n == LINK_OVER)
            return false;
        if (n == LINK_LATER)
            break;
        if (may_skip)
            continue;
        count(e, into, (size_t)n);
        if (e->role == ENDPOINT_ECHO) {
            e->echo_begin = 0;
            e->echo_end = (size_t)n;
            break;
        }
    }
    return true;
}

uint32_t endpoint_wants(const struct endpoint *e)
{
    bool is_sending = has_something_to_send(e);
    uint32_t reads = e->is_deaf || (e->role == ENDPOINT_ECHO && is_sending) ? 0 : EPOLLIN;
    return reads | (is_sending ? EPOLLOUT : 0);
}

bool endpoint_handle(struct endpoint *e, uint32_t events)
{
    bool is_echoing = e->role == ENDPOINT_ECHO && has_something_to_send(e);
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !is_echoing && !read_on(e))
        return false;
    return write_on(e);
}

/* ---- the handshake ---- */

size_t endpoint_request(const char *address, char *text, size_t size)
{
    int len = snprintf(text, size,
                       "GET / HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                       "Sec-WebSocket-Version: 13\r\n\r\n",
                       address);
    if (len < 0 || (size_t)len >= size)
        die("%s: too long", address);
    return (size_t)len;
}

void endpoint_shake(struct endpoint *e, const char *address)
{
    char text[4096];
    size_t used = 0;

    size_t len = endpoint_request(address, text, sizeof(text));
    link_write_all(&e->link, (const uint8_t *)text, len);
    for (;;) {
        ssize_t n = link_read(&e->link, (uint8_t *)text + used, sizeof(text) - 1 - used);
        if (n <= 0)
            die("the server has ended the connection in the handshake");
        used += (size_t)n;
        text[used] = '\0';
        const char *end = strstr(text, "\r\n\r\n");
        if (end != NULL) {
            if (strncmp(text, "HTTP/1.1 101", 12) != 0)
                die("refused: %.60s", text);
            size_t head = (size_t)(end - text) + 4;
            count(e, (const uint8_t *)text + head, used - head);
            return;
        }
        if (used + 1 == sizeof(text))
            die("the answer to the handshake is too long");
    }
}
