/* A server in a thread of its own that reads a request head and answers with bytes from a script:
 * for what a WebSocket client must bear. */
#ifndef TIDEGATE_RAW_SERVER_H
#define TIDEGATE_RAW_SERVER_H

#include "io_kit.h"

#include <stdatomic.h>

#define RAW_SERVER_ANSWERS 8

/* A good answer, to be completed by RAW_EXTENSION or something else, and "\r\n". */
#define RAW_101                                                                                    \
    "HTTP/1.1 101 Switching Protocols\r\n"                                                         \
    "Upgrade: websocket\r\n"                                                                       \
    "Connection: Upgrade\r\n"                                                                      \
    "Sec-WebSocket-Accept: {accept}\r\n"
#define RAW_EXTENSION "Sec-WebSocket-Extensions: tidegate-half-close\r\n"

enum raw_act {
    RAW_SEND,   /* the answer, once; then reads to the end */
    RAW_FLOOD,  /* the answer, again and again, until the client has gone */
    RAW_SILENT, /* nothing; reads to the end */
    RAW_RESET,  /* instead of an answer */
    RAW_CLOSE,  /* sends the answer, then closes */
    RAW_PINGS,  /* sends the answer, then pings without reading, until the client has gone */
    RAW_NEXT    /* sends it; the next answer is for another request on the same connection */
};

struct raw_answer {
    enum raw_act act;
    const char *text; /* {accept} becomes the right key */
    size_t len;       /* 0: of the string */
};

struct raw_server {
    uint16_t port;
    struct raw_answer answers[RAW_SERVER_ANSWERS]; /* one a connection; no more: not accepted */
    unsigned count;
    /* RAW_SEND: the last part of it, or NULL; sent when so many bytes have come behind the request.
     */
    const char *last;
    size_t last_len, wanted;
    atomic_bool is_held; /* a request that it has read waits for its answer */

    /* Valid after raw_server_join. */
    unsigned requests;
    char request[RAW_SERVER_ANSWERS][16384];
    uint8_t *rest; /* what came behind the last request */
    size_t rest_len;
    int end_error;    /* how that connection ended: 0 for an end, or errno */
    uint64_t flooded; /* bytes sent */

    int listener; /* private */
    bool is_running;
    pthread_t thread;
};

void raw_server_start(struct raw_server *s);
void raw_server_join(struct raw_server *s); /* waits until all answers have been given */
void raw_server_stop(struct raw_server *s); /* does not wait for who has not connected yet */
void raw_server_free(struct raw_server *s); /* and joins; harmless if it was not started */

#endif
