/* The status port's server where its bodies are made in another thread, at the moments when both
 * are ending. */
#include "status_http.h"

#include "io_kit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Another thread's loop, and a body of two pieces that is made there. */
struct place {
    struct loop *here, *there;
    pthread_t thread;
    struct status_http *http;
    int client; /* -1 once it has gone */
    struct loop_call entered, dismiss;
    sem_t may_go_on;
    void (*on_entered)(struct place *p); /* here, while `next` waits there */
    struct status_body body;
    unsigned asked, freed;
    bool was_wrong_thread;
};

static void note_thread(struct place *p)
{
    if (!pthread_equal(pthread_self(), p->thread))
        p->was_wrong_thread = true;
}

static bool next(struct status_body *b, struct text *out)
{
    struct place *p = container_of(b, struct place, body);
    note_thread(p);
    text_add(out, "a piece");
    if (p->asked++ == 0) {
        loop_send(p->here, &p->entered);
        sem_wait(&p->may_go_on);
    }
    return p->asked == 2;
}

static struct loop *where(const struct status_body *b)
{
    return container_of(b, const struct place, body)->there;
}

static void free_body(struct status_body *b)
{
    struct place *p = container_of(b, struct place, body);
    if (p->asked < 2)
        note_thread(p);
    p->freed++;
}

static void answer(void *owner, const char *path, size_t len, struct status_answer *out)
{
    static const struct status_body_ops ops = {next, where, free_body};
    struct place *p = owner;
    (void)path;
    (void)len;
    p->body.ops = &ops;
    *out = (struct status_answer){.status = 200, .type = "text/plain", .body = &p->body};
}

static void run_entered(struct loop_call *c)
{
    struct place *p = container_of(c, struct place, entered);
    p->on_entered(p);
    sem_post(&p->may_go_on);
}

static void run_dismiss(struct loop_call *c)
{
    loop_release(container_of(c, struct place, dismiss)->there);
}

static void *run(void *arg)
{
    loop_run(((struct place *)arg)->there);
    return NULL;
}

static int dial(const struct status_http *h)
{
    static const char request[] = "GET / HTTP/1.1\r\n\r\n";
    struct address address;
    const char *why;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(address_parse(status_http_name(h), &address, &why), 0);
    to.sin_port = htons(address.port);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    return fd;
}

static void place_open(struct place *p, void (*on_entered)(struct place *p))
{
    static const struct status_http_handler handler = {answer};
    struct address address = {.kind = ADDRESS_TCP, .host = "127.0.0.1"};
    char problem[256];
    *p = (struct place){.here = loop_new(), .there = loop_new(), .on_entered = on_entered};
    sem_init(&p->may_go_on, 0, 0);
    loop_call_init(&p->entered, run_entered);
    loop_call_init(&p->dismiss, run_dismiss);
    loop_hold(p->there);
    assert_int_equal(
        status_http_open(p->here, &address, &handler, p, &p->http, problem, sizeof(problem)), 0);
    assert_int_equal(pthread_create(&p->thread, NULL, run, p), 0);
    p->client = dial(p->http);
}

static void place_end(struct place *p)
{
    pthread_join(p->thread, NULL);
    assert_int_equal(p->freed, 1);
    assert_false(p->was_wrong_thread);
    if (p->client >= 0)
        close(p->client);
    loop_free(p->here);
    loop_free(p->there);
    sem_destroy(&p->may_go_on);
}

/* As a service does that has no connection left, nor have its workers. */
static void close_and_dismiss(struct place *p)
{
    status_http_close(p->http);
    loop_send(p->there, &p->dismiss);
}

static void test_69_the_other_loop_ends_while_it_makes_a_piece(void **state)
{
    (void)state;
    struct place p;
    place_open(&p, close_and_dismiss);
    assert_false(kit_run_for(p.here, 5000));
    place_end(&p);
    assert_int_equal(p.asked, 1);
}

static void leave(struct place *p)
{
    kit_reset(p->client);
    p->client = -1;
}

/* Its body is freed where it was made, and the other loop goes on. */
static void test_the_client_leaves_while_a_piece_is_made(void **state)
{
    (void)state;
    struct place p;
    place_open(&p, leave);
    KIT_WAIT(p.here, p.freed == 1);
    close_and_dismiss(&p);
    assert_false(kit_run_for(p.here, 5000));
    place_end(&p);
}

static void nothing(struct place *p)
{
    (void)p;
}

static void test_pieces_are_joined(void **state)
{
    (void)state;
    struct place p;
    char got[1024];
    size_t used = 0;
    place_open(&p, nothing);
    KIT_WAIT(p.here, p.freed == 1);
    close_and_dismiss(&p);
    assert_false(kit_run_for(p.here, 5000));
    for (ssize_t n = 1; n > 0; used += (size_t)(n > 0 ? n : 0))
        n = read(p.client, got + used, sizeof(got) - 1 - used);
    got[used] = '\0';
    const char *body = strstr(got, "\r\n\r\n");
    assert_non_null(body);
    assert_string_equal(body, "\r\n\r\n7\r\na piece\r\n7\r\na piece\r\n0\r\n\r\n");
    place_end(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_69_the_other_loop_ends_while_it_makes_a_piece),
        cmocka_unit_test(test_the_client_leaves_while_a_piece_is_made),
        cmocka_unit_test(test_pieces_are_joined),
    };
    return cmocka_run_group_tests_name("status_http", tests, NULL, NULL);
}
