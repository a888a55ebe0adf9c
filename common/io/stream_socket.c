#include "stream_socket.h"

#include "resolve.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define KEEPALIVE_IDLE_S     60
#define KEEPALIVE_INTERVAL_S 15
#define KEEPALIVE_COUNT      4

/* TCP_CLOSE of <netinet/tcp.h>, whose older struct tcp_info clashes with the one needed here. */
#define STATE_CLOSE 7

static void set_option(int fd, int level, int option, int value)
{
    /* A refusal (an option that the peer's death made meaningless) changes nothing that matters. */
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

bool stream_socket_is_loopback(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
        return ntohl(v4->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    return address->ss_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
}

/* Asked once: what it costs to ask is what it saves. */
static pthread_once_t has_asked_default = PTHREAD_ONCE_INIT;
static bool is_default_paced;

static void ask_default(void)
{
    char name[16] = "";
    socklen_t size = sizeof(name) - 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &size) == 0)
        is_default_paced = strncmp(name, "bbr", 3) == 0;
    close(fd);
}

void stream_socket_tune_local(int fd, const struct sockaddr_storage *address)
{
    static const char reno[] = "reno";
    if (!stream_socket_is_loopback(address))
        return;
    pthread_once(&has_asked_default, ask_default);
    if (is_default_paced)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, reno, sizeof(reno) - 1);
}

void stream_socket_tune(int fd)
{
    stream_socket_set_reset(fd, true);
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
}

void stream_socket_set_timeouts(int fd, uint64_t user_timeout_ms)
{
    set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
    stream_socket_set_user_timeout(fd, user_timeout_ms);
}

void stream_socket_set_user_timeout(int fd, uint64_t user_timeout_ms)
{
    set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT,
               user_timeout_ms > INT_MAX ? INT_MAX : (int)user_timeout_ms);
}

void stream_socket_set_reset(int fd, bool resets)
{
    struct linger linger = {.l_onoff = resets, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

int stream_socket_error(int fd)
{
    int error = 0;
    socklen_t size = sizeof(error);
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? -error : -errno;
}

int stream_socket_finish(int fd)
{
    if (shutdown(fd, SHUT_WR) == 0)
        return 0;
    if (errno != ENOTCONN)
        return -errno;
    /* The connection is gone; why was left for whoever asks first. */
    int status = stream_socket_error(fd);
    return status != 0 ? status : -ECONNRESET;
}

size_t stream_socket_outstanding(int fd)
{
    int outstanding;
    return ioctl(fd, SIOCOUTQ, &outstanding) == 0 && outstanding > 0 ? (size_t)outstanding : 0;
}

enum stream_socket_tail stream_socket_tail(int fd)
{
    if (stream_socket_outstanding(fd) == 0)
        return STREAM_TAIL_ACKED;
    struct tcp_info info = {0};
    socklen_t size = sizeof(info);
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0)
        return STREAM_TAIL_MOVING;
    if (info.tcpi_state == STATE_CLOSE)
        return STREAM_TAIL_DEAD;
    if (info.tcpi_unacked > 0 || info.tcpi_notsent_bytes == 0)
        return STREAM_TAIL_MOVING;
    /* One probe may be on its way. The kernel counts those since the peer's last answer. */
    return info.tcpi_probes <= 1 ? STREAM_TAIL_STALLED : STREAM_TAIL_UNKNOWN;
}

void stream_socket_peer_name(int fd, char *buffer, size_t size)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof(peer);
    if (getpeername(fd, (struct sockaddr *)&peer, &len) != 0)
        peer.ss_family = AF_UNSPEC;
    resolve_format(&peer, buffer, size);
}

bool stream_socket_local(int fd, struct ip_endpoint *out)
{
    struct sockaddr_storage local = {0};
    socklen_t len = sizeof(local);
    return getsockname(fd, (struct sockaddr *)&local, &len) == 0 &&
           ip_endpoint_from_sockaddr((const struct sockaddr *)&local, out);
}

bool stream_socket_peer(int fd, struct ip_endpoint *out)
{
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof(peer);
    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0 &&
           ip_endpoint_from_sockaddr((const struct sockaddr *)&peer, out);
}
