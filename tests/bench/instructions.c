/* Codec and relay on memory alone, for counting instructions.
 *
 *   instructions            what it is compiled by, and the cases: JSON
 *   instructions CASE       runs it; prints how many units (bytes, frames, messages) were
 * `measured`
 *
 * tests/bench/instructions.py runs each under `valgrind --tool=callgrind`, which counts only inside
 * of the function `measured`. What one case does first, once, is not counted. */
#include "half_close.h"
#include "mute.h"
#include "ws_handshake.h"
#include "ws_message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 16
#define BULK   65536
#define SMALL  64

void measured(void (*run)(void));

static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
static uint8_t original[4 * (BULK + WS_FRAME_HEADER_MAX)], buffer[sizeof(original)];
static size_t used;    /* of both */
static uint64_t units; /* in one run */
static uint64_t bytes; /* of payload in one run; 0: nobody's */
static volatile uint64_t result;
static struct mute_world world;

static void fail(const char *what)
{
    fprintf(stderr, "instructions: %s\n", what);
    exit(1);
}

/* ---- what is fed ---- */

/* Masked frames of one size, as many as four bulk frames have bytes. */
static void fill(uint8_t opcode, size_t payload)
{
    struct ws_frame_header h = {.fin = true, .opcode = opcode, .masked = true, .length = payload};

    memcpy(h.key, key, sizeof(key));
    used = 0;
    units = bytes = 0;
    while (used + payload + WS_FRAME_HEADER_MAX <= sizeof(original)) {
        used += ws_frame_write(&h, original + used);
        for (size_t i = 0; i < payload; i++)
            original[used + i] = (uint8_t)(('a' + i % 26) ^ key[i & 3]);
        used += payload;
        bytes += payload;
        units++;
    }
}

static void fill_bulk(void)
{
    fill(WS_BINARY, BULK);
}

static void fill_small(void)
{
    fill(WS_BINARY, SMALL);
}

static void fill_text(void)
{
    fill(WS_TEXT, BULK);
}

static void count_bytes(void)
{
    used = units = BULK;
}

static void fill_plain(void)
{
    used = bytes = BULK;
    units = 1;
}

static void fill_small_plain(void)
{
    used = bytes = SMALL;
    units = 1;
}

static void one_unit(void)
{
    units = 1;
}

/* ---- codec ---- */

static void unmask(void)
{
    ws_frame_mask(buffer, used, key, 0);
}

static void read_frames(void)
{
    struct ws_reader reader;
    struct span in = {buffer, used};
    struct ws_event event;

    ws_reader_init(&reader, WS_SERVER, WS_EXTENSION);
    while (ws_reader_next(&reader, &in, &event))
        result += event.payload.len;
}

static void write_header_of(uint64_t length)
{
    struct ws_frame_header h = {.fin = true, .opcode = WS_BINARY, .length = length};
    result += ws_frame_write(&h, buffer);
}

static void write_bulk_header(void)
{
    write_header_of(BULK);
}

static void write_small_header(void)
{
    write_header_of(SMALL);
}

static void parse_half_close(void)
{
    static char text[] = "WINDOW 1234567890";
    result += half_close_parse((struct span){(uint8_t *)text, sizeof(text) - 1}).number;
}

static void write_half_close(void)
{
    result += half_close_write((struct half_close_message){HALF_CLOSE_WINDOW, 1234567890}, buffer);
}

static void shake_hands(void)
{
    static char request[] =
        "GET /path HTTP/1.1\r\nHost: localhost:8080\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: tidegate-half-close\r\n\r\n";
    struct span in = {(uint8_t *)request, sizeof(request) - 1};
    struct ws_head *head = ws_head_new(WS_SERVER);
    struct ws_offer offer;
    const char *problem;
    char answer[1024];
    struct text out;

    text_init(&out, answer, sizeof(answer));
    if (head == NULL || ws_head_feed(head, &in) != WS_HEAD_DONE ||
        ws_handshake_judge(head, &offer, &problem) != 101)
        fail("the handshake was refused");
    ws_handshake_accept(&offer, &out);
    ws_head_free(head);
    result += out.len;
}

/* ---- relay and ws_duplex ---- */

static void relay_up(void)
{
    mute_tell(&world, &world.client, (struct span){buffer, used});
}

static void relay_down(void)
{
    mute_tell(&world, &world.backend, (struct span){buffer, used});
}

static void live_and_die(void)
{
    struct mute_world w;
    mute_set_up(&w);
    mute_tear_down(&w);
}

static const struct {
    const char *name;
    const char *unit;
    void (*fill)(void);
    void (*run)(void);
} cases[] = {
    {"unmask", "byte", count_bytes, unmask},
    {"read-64k-frames", "frame", fill_bulk, read_frames},
    {"read-64-byte-frames", "frame", fill_small, read_frames},
    {"read-64k-text", "frame", fill_text, read_frames},
    {"write-64k-header", "header", one_unit, write_bulk_header},
    {"write-64-byte-header", "header", one_unit, write_small_header},
    {"half-close-parse", "message", one_unit, parse_half_close},
    {"half-close-write", "message", one_unit, write_half_close},
    {"handshake", "request", one_unit, shake_hands},
    {"relay-up-64k", "frame", fill_bulk, relay_up},
    {"relay-up-64-byte", "frame", fill_small, relay_up},
    {"relay-down-64k", "read", fill_plain, relay_down},
    {"relay-down-64-byte", "read", fill_small_plain, relay_down},
    {"relay-set-up", "connection", one_unit, live_and_die},
};

/* Nothing behind the call: it would become a jump, and the counting would not stop. */
__attribute__((noinline)) void measured(void (*run)(void))
{
    run();
    __asm__ volatile("" ::: "memory");
}

static void run(size_t i)
{
    mute_set_up(&world);
    cases[i].fill();
    memcpy(buffer, original, sizeof(buffer));
    cases[i].run();
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(buffer, original, sizeof(buffer)); /* what is read is unmasked in place */
        measured(cases[i].run);
    }
    if (cases[i].run == relay_up && world.backend.written != bytes * (ROUNDS + 1))
        fail("bytes were lost on their way up");
    if (cases[i].run == relay_down && world.client.written <= bytes * (ROUNDS + 1))
        fail("bytes were lost on their way down");
    printf("{\"unit\": \"%s\", \"units\": %llu}\n", cases[i].unit,
           (unsigned long long)units * ROUNDS);
    mute_tear_down(&world);
}

#ifdef __clang__
#define COMPILER __VERSION__ /* with its name */
#else
#define COMPILER "gcc " __VERSION__
#endif

static void list(void)
{
    printf("{\"compiler\": \"" COMPILER "\", \"cases\": [");
    for (size_t i = 0; i < array_count(cases); i++)
        printf("%s\"%s\"", i > 0 ? ", " : "", cases[i].name);
    puts("]}");
}

int main(int argc, char **argv)
{
    if (argc > 2) {
        fputs("usage: instructions [CASE]\n", stderr);
        return 64;
    }
    if (argc == 1) {
        list();
        return 0;
    }
    for (size_t i = 0; i < array_count(cases); i++) {
        if (strcmp(cases[i].name, argv[1]) == 0) {
            run(i);
            return 0;
        }
    }
    fprintf(stderr, "instructions: %s: no such case\n", argv[1]);
    return 64;
}
