/* What the tests of common/io share: a loop, connected sockets, an owner that records what it is
 * told, and a peer that reads and writes its end in a thread of its own, with a pattern for
 * content. */
#ifndef TIDEGATE_IO_KIT_H
#define TIDEGATE_IO_KIT_H

#include "duplex.h"
#include "loop.h"
#include "stream.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h> /* wants the two above */

#define MIB (UINT64_C(1) << 20)

extern const struct stream_options kit_options; /* linger 5 s */

uint64_t kit_now_ms(void);

/* Runs the loop until `condition` holds; fails the test after 20 s. Every event of an app stops the
 * loop once. */
#define KIT_WAIT(l, condition)                                                                     \
    do {                                                                                           \
        uint64_t kit_end_ms = kit_now_ms() + 20000;                                                \
        while (!(condition)) {                                                                     \
            if (kit_now_ms() > kit_end_ms)                                                         \
                fail_msg("%s", "waited 20 s in vain for: " #condition);                            \
            kit_turn(l);                                                                           \
        }                                                                                          \
    } while (0)

/* Runs the loop until something stops it or nothing is open, `ms` at most: true if that was what
 * ended it. */
bool kit_run_for(struct loop *l, uint64_t ms);

/* The same, 100 ms at most. */
void kit_turn(struct loop *l);

/* Runs the loop until nothing is open, which must be within `limit_ms`. Returns how long it took.
 */
uint64_t kit_run_dry(struct loop *l, uint64_t limit_ms);

/* Connected sockets: ours[0] is non-blocking, the peer's [1] blocks. */
void kit_tcp_pair(int fds[2]);
void kit_unix_pair(int fds[2]);

/* A listening socket on 127.0.0.1 (or the address given), and its port. */
int kit_listen(const char *ip, uint16_t *port, int backlog);

void kit_reset(int fd);    /* SO_LINGER 0 and close */
int kit_tcp_state(int fd); /* tcpi_state */

void kit_pattern(uint8_t *data, size_t len, uint64_t offset);
bool kit_is_pattern(const uint8_t *data, size_t len, uint64_t offset);

/* ---- An owner ---- */

struct app {
    struct duplex *d; /* NULL after its end */
    struct loop *l;
    uint64_t got;
    bool is_wrong;   /* what came was not the pattern */
    bool is_in_call; /* events now would break the contract */
    unsigned ends, aborts, drains, finishes, reads, releases;
    size_t largest_read;
    struct cause cause;
    bool pauses_in_data;
    uint64_t pause_at;          /* pauses once it has got so much (0: never) */
    uint64_t to_write, written; /* app_pump writes until full, and again at each on_drain */
    bool finishes_at_end;       /* finish() behind the last of to_write */
    void (*hook)(struct app *a, const char *event);
};

void app_open(struct app *a, struct loop *l, int fd, enum stream_kind kind,
              const struct stream_options *options);
void app_own(struct app *a, struct loop *l, struct duplex *d);   /* a stream */
void app_adopt(struct app *a, struct loop *l, struct duplex *d); /* any other */
bool app_write(struct app *a, const void *data, size_t len);
bool app_write_pattern(struct app *a, size_t len); /* the next `len` bytes of it, in one write */
void app_pump(struct app *a);
void app_finish(struct app *a);
void app_abort(struct app *a);
void app_pause(struct app *a);
void app_resume(struct app *a);
void app_close(struct app *a);

/* ---- A peer ---- */

struct peer {
    int fd;
    pthread_t thread;
    uint64_t to_send, sent; /* the pattern; stops at an error */
    bool ends_after_send;
    bool reads;       /* until the end or an error */
    unsigned slow_us; /* sleeps so long before each read of 64 KiB at most */
    uint64_t got;
    bool is_wrong;
    int send_error, read_error; /* errno; read_error 0 means the end */
};

/* Sends and reads at the same time, in two threads, until both are over. */
void peer_start(struct peer *p);
void peer_join(struct peer *p);

/* Here, at once: reads up to the end or an error; sends the next bytes of the pattern. */
void peer_read(struct peer *p);
void peer_write(struct peer *p, size_t len);

/* ---- The usual setting: one stream, one peer ---- */

struct world {
    struct loop *l;
    struct app app;
    struct peer peer; /* fd -1: closed by the test */
};

void world_open(struct world *w, enum stream_kind kind, const struct stream_options *options);
void world_end(struct world *w);

#endif
