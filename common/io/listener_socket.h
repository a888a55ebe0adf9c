/* The sockets under a listener: made, bound, listening. Private to this floor. */
#ifndef TIDEGATE_LISTENER_SOCKET_H
#define TIDEGATE_LISTENER_SOCKET_H

#include "address.h"
#include "listener.h"
#include "text.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

/* A unix socket's file, if it is ours. */
struct listener_file {
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)]; /* "": none */
    dev_t device;
    ino_t inode;
};

/* A listening descriptor or a negative errno. `*port` 0 asks for any and is set to the one given;
 * otherwise it takes the place of the address' own. */
int listener_socket_tcp(struct sockaddr_storage *address, socklen_t len, uint16_t *port,
                        const struct listener_options *options);

/* Another one at the address of `fd`, which was made with shares_port. */
int listener_socket_beside(int fd, int backlog);

/* The same at a path. A socket file that nobody listens behind is replaced. -EEXIST: the file is no
 * socket. */
int listener_socket_unix(const struct sockaddr_un *address, int backlog,
                         struct listener_file *file);

/* Removes the file, unless somebody has put another one in its place. */
void listener_file_remove(struct listener_file *file);

void listener_socket_set_port(struct sockaddr_storage *address, uint16_t port);

/* Appends where `fd` is bound, as address_format writes it, behind a ' ' if there is something
 * already; sets `*port`, if it is 0, to that of a TCP socket. Whether it is a unix one. */
bool listener_socket_describe(int fd, struct text *name, uint16_t *port);

/* A peer that came by IPv4 to a socket for both: as IPv4. */
void listener_socket_unmap(struct sockaddr_storage *peer);

/* "what: why (what to do)" for people. */
void listener_socket_problem(const char *what, bool is_unix, int status, char *problem,
                             size_t size);

#endif
