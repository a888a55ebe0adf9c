/* One end of what the load generator measures: a client (WebSocket, or bytes as they are) or a
 * backend's connection. Told by epoll when it may read and write. */
#ifndef TIDEGATE_BENCH_ENDPOINT_H
#define TIDEGATE_BENCH_ENDPOINT_H

#include "link.h"

enum endpoint_role {
    ENDPOINT_SINK,   /* reads */
    ENDPOINT_SOURCE, /* writes messages without end, and reads */
    ENDPOINT_ECHO,   /* writes what it reads */
    ENDPOINT_ASKER   /* writes a message when the answer to the last one is there */
};

/* What the sending ones send, again and again. */
struct endpoint_message {
    uint8_t *data; /* as it goes out: for a WebSocket a masked frame */
    size_t size;
    size_t payload;
};

struct endpoint {
    struct link link;
    enum endpoint_role role;
    bool is_websocket;
    bool is_silent; /* sends nothing */
    bool is_deaf;   /* reads nothing */
    const struct endpoint_message *message;
    size_t sent; /* of the message under way */
    uint64_t sent_ever;
    uint64_t received; /* payload bytes */
    uint64_t wanted;   /* asker: the answer is there when so much has been received */
    uint64_t asked_ns;
    void (*on_answer)(uint64_t ns); /* asker: how long it took */
    uint8_t *echo;                  /* echo: read, to be written */
    size_t echo_begin, echo_end;
    uint64_t frame_left; /* WebSocket: payload of the frame under way */
    bool is_data_frame;
    uint8_t head[10];
    size_t head_len;
    uint32_t events; /* epoll's, that are asked for */
};

/* A Binary frame for a WebSocket client, or the payload alone. */
struct endpoint_message endpoint_message_new(size_t payload, bool is_websocket);

/* The GET, which asks for no extension; its length. */
size_t endpoint_request(const char *address, char *text, size_t size);

/* GET and 101, blocking; `early` bytes behind them are counted. */
void endpoint_shake(struct endpoint *e, const char *address);

/* What epoll should tell. */
uint32_t endpoint_wants(const struct endpoint *e);

/* False: the peer has ended or broken the connection. */
bool endpoint_handle(struct endpoint *e, uint32_t events);

uint64_t now_ns(void);

#endif
