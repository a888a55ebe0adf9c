#include "raw_server.h"

#include "ws_handshake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define REST_MAX (64 * MIB)

/* Up to the end of the head; what follows it goes into the rest. */
static bool read_request(struct raw_server *s, int fd)
{
    char *head = s->request[s->requests];
    size_t size = sizeof(s->request[0]) - 1, len = 0;

    while (len < size) {
        ssize_t n = recv(fd, head + len, size - len, 0);
        if (n <= 0)
            return false;
        len += (size_t)n;
        head[len] = '\0';
        char *end = strstr(head, "\r\n\r\n");
        if (end == NULL)
            continue;
        s->rest_len = len - (size_t)(end + 4 - head);
        memcpy(s->rest, end + 4, s->rest_len);
        end[4] = '\0';
        s->requests++;
        return true;
    }
    return false;
}

static size_t expand(const struct raw_server *s, const struct raw_answer *a, char *out, size_t size)
{
    const char *head = s->request[s->requests - 1], *mark = "{accept}";
    const char *key = strstr(head, "Sec-WebSocket-Key: ");
    size_t len = a->len != 0 ? a->len : strlen(a->text);
    const char *at = memmem(a->text, len, mark, strlen(mark));
    char plain[WS_KEY_SIZE], accept[WS_ACCEPT_SIZE] = "";

    assert_true(len + sizeof(accept) < size);
    if (at == NULL || key == NULL) {
        memcpy(out, a->text, len);
        return len;
    }
    memcpy(plain, key + strlen("Sec-WebSocket-Key: "), WS_KEY_SIZE - 1);
    plain[WS_KEY_SIZE - 1] = '\0';
    assert_int_equal(ws_handshake_accept_key(plain, accept), 0);
    size_t before = (size_t)(at - a->text), rest = len - before - strlen(mark);
    memcpy(out, a->text, before);
    memcpy(out + before, accept, strlen(accept));
    memcpy(out + before + strlen(accept), at + strlen(mark), rest);
    return before + strlen(accept) + rest;
}

static void read_rest(struct raw_server *s, int fd)
{
    bool owes_last = s->last != NULL;
    ssize_t n;

    do {
        if (owes_last && s->rest_len >= s->wanted) {
            send(fd, s->last, s->last_len, MSG_NOSIGNAL);
            owes_last = false;
        }
        n = recv(fd, s->rest + s->rest_len, REST_MAX - s->rest_len, 0);
        s->rest_len += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    s->end_error = n < 0 ? errno : 0;
}

static void send_pings(struct raw_server *s, int fd)
{
    static const char ping[] = "\x89\x0a"
                               "0123456789";
    char pings[(sizeof(ping) - 1) * 1000];
    ssize_t n;

    for (size_t i = 0; i < 1000; i++)
        memcpy(pings + i * (sizeof(ping) - 1), ping, sizeof(ping) - 1);
    while ((n = send(fd, pings, sizeof(pings), MSG_NOSIGNAL)) == sizeof(pings))
        s->flooded += (uint64_t)n;
}

/* False: the connection is over. */
static bool serve_answer(struct raw_server *s, int fd, const struct raw_answer *a)
{
    static char out[262144];
    size_t len = 0;

    if (!read_request(s, fd)) {
        close(fd);
        return false;
    }
    while (s->is_held)
        usleep(1000);
    if (a->text != NULL)
        len = expand(s, a, out, sizeof(out));
    if (a->act == RAW_RESET) {
        kit_reset(fd);
        return false;
    }
    do {
        ssize_t n = send(fd, out, len, MSG_NOSIGNAL);
        if (n < 0)
            break;
        s->flooded += (uint64_t)n;
    } while (a->act == RAW_FLOOD);
    if (a->act == RAW_NEXT)
        return true;
    if (a->act == RAW_PINGS)
        send_pings(s, fd);
    else if (a->act != RAW_CLOSE)
        read_rest(s, fd);
    close(fd);
    return false;
}

static void *run(void *arg)
{
    struct raw_server *s = arg;
    int fd = -1;
    bool goes_on = false;

    for (unsigned i = 0; i < s->count; i++) {
        struct timeval limit = {.tv_sec = 20};
        setsockopt(s->listener, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        if (!goes_on)
            fd = accept(s->listener, NULL, NULL);
        if (fd < 0) /* nobody has come: the test will say so, in place of waiting for ever */
            return NULL;
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        goes_on = serve_answer(s, fd, &s->answers[i]);
    }
    return NULL;
}

void raw_server_start(struct raw_server *s)
{
    while (s->count < RAW_SERVER_ANSWERS &&
           (s->answers[s->count].text != NULL || s->answers[s->count].act != RAW_SEND))
        s->count++;
    s->rest = malloc(REST_MAX);
    assert_non_null(s->rest);
    s->listener = kit_listen("127.0.0.1", &s->port, 8);
    assert_int_equal(pthread_create(&s->thread, NULL, run, s), 0);
    s->is_running = true;
}

void raw_server_join(struct raw_server *s)
{
    if (!s->is_running)
        return;
    s->is_running = false;
    pthread_join(s->thread, NULL);
    close(s->listener);
}

void raw_server_stop(struct raw_server *s)
{
    shutdown(s->listener, SHUT_RDWR);
    raw_server_join(s);
}

void raw_server_free(struct raw_server *s)
{
    raw_server_join(s);
    free(s->rest);
}
