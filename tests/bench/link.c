#include "link.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_AHEAD 262144 /* OpenSSL would read each record with two calls */

void die(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

SSL_CTX *link_tls(const char *cipher)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (tls == NULL)
        die("OpenSSL cannot be set up");
    SSL_CTX_set_verify(tls, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(tls, 1);
    SSL_CTX_set_default_read_buffer_len(tls, READ_AHEAD);
    if (cipher == NULL)
        return tls;
    bool is_13 = strncmp(cipher, "TLS_", 4) == 0;
    if ((is_13 ? SSL_CTX_set_ciphersuites(tls, cipher) : SSL_CTX_set_cipher_list(tls, cipher)) != 1)
        die("%s: unknown cipher", cipher);
    if (is_13)
        SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
    else
        SSL_CTX_set_max_proto_version(tls, TLS1_2_VERSION);
    return tls;
}

static void set_no_delay(int fd)
{
    int on = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        die("TCP_NODELAY: %s", strerror(errno));
}

/* Asked for once: the whole run goes to one address. */
static const struct addrinfo *resolve(const char *address)
{
    static struct addrinfo *found;
    char host[128];
    const char *colon = strrchr(address, ':');
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};

    if (found != NULL)
        return found;
    if (colon == NULL || (size_t)(colon - address) >= sizeof(host))
        die("%s: not HOST:PORT", address);
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = '\0';
    int error = getaddrinfo(host, colon + 1, &hints, &found);
    if (error != 0)
        die("%s: %s", address, gai_strerror(error));
    return found;
}

static int connect_tcp(const char *address)
{
    const struct addrinfo *to = resolve(address);
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* What TCP does at the far end of a loopback connection is done at the near end's expense: BBR,
     * the default of some systems, would arm the generator's timers in the proxy's time. */
    if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) != 0 ||
        connect(fd, to->ai_addr, to->ai_addrlen) != 0)
        die("connecting to %s: %s", address, strerror(errno));
    set_no_delay(fd);
    return fd;
}

struct link link_connect(const char *address, SSL_CTX *tls)
{
    struct link l = {.fd = connect_tcp(address)};

    if (tls == NULL)
        return l;
    l.ssl = SSL_new(tls);
    if (l.ssl == NULL || SSL_set_fd(l.ssl, l.fd) != 1 || SSL_connect(l.ssl) != 1)
        die("TLS handshake with %s failed", address);
    return l;
}

struct link link_connect_later(const char *address, SSL_CTX *tls)
{
    struct link l = {.fd = connect_tcp(address)};

    link_set_nonblocking(&l);
    if (tls == NULL)
        return l;
    l.ssl = SSL_new(tls);
    if (l.ssl == NULL || SSL_set_fd(l.ssl, l.fd) != 1)
        die("OpenSSL cannot be set up");
    SSL_set_connect_state(l.ssl);
    return l;
}

void link_set_nonblocking(const struct link *l)
{
    int on = 1;
    if (ioctl(l->fd, FIONBIO, &on) != 0)
        die("O_NONBLOCK: %s", strerror(errno));
}

bool link_accept(int listener, struct link *out)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EAGAIN || errno == EINTR)
            return false;
        die("accept: %s", strerror(errno));
    }
    set_no_delay(fd);
    *out = (struct link){.fd = fd};
    return true;
}

static ssize_t tls_result(const struct link *l, int n)
{
    if (n > 0)
        return n;
    int error = SSL_get_error(l->ssl, n);
    return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? LINK_LATER : LINK_OVER;
}

static ssize_t tcp_result(ssize_t n)
{
    if (n > 0)
        return n;
    return n < 0 && (errno == EAGAIN || errno == EINTR) ? LINK_LATER : LINK_OVER;
}

ssize_t link_read(struct link *l, uint8_t *buffer, size_t size)
{
    if (l->ssl != NULL)
        return tls_result(l, SSL_read(l->ssl, buffer, (int)size));
    return tcp_result(recv(l->fd, buffer, size, 0));
}

ssize_t link_skip(struct link *l, size_t size)
{
    return tcp_result(recv(l->fd, NULL, size, MSG_TRUNC)); /* tcp(7) */
}

ssize_t link_write(struct link *l, const uint8_t *data, size_t len)
{
    if (l->ssl != NULL)
        return tls_result(l, SSL_write(l->ssl, data, (int)len));
    return tcp_result(send(l->fd, data, len, MSG_NOSIGNAL));
}

void link_write_all(struct link *l, const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = link_write(l, data, len);
        if (n < 0)
            die("writing the handshake: the peer is gone");
        data += n;
        len -= (size_t)n;
    }
}

void link_end(struct link *l)
{
    if (l->ssl != NULL)
        SSL_shutdown(l->ssl);
    shutdown(l->fd, SHUT_WR);
}

void link_close(struct link *l)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    SSL_free(l->ssl);
    setsockopt(l->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(l->fd);
    l->fd = -1;
}
