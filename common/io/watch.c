#include "watch_internal.h"

#include <stdlib.h>

static uv_poll_t **place_of(struct loop *l, int fd)
{
    return &l->kept[(unsigned)fd % LOOP_KEPT];
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void watch_free(uv_poll_t *poll)
{
    if (poll != NULL)
        uv_close((uv_handle_t *)poll, on_closed);
}

uv_poll_t *watch_open(struct loop *l, int fd, void *owner)
{
    uv_poll_t **kept = place_of(l, fd), *poll = *kept;
    if (poll != NULL && watch_fd(poll) == fd) {
        *kept = NULL;
    } else {
        poll = malloc(sizeof(*poll));
        if (poll == NULL || uv_poll_init(&l->uv, poll, fd) != 0) {
            free(poll);
            return NULL;
        }
    }
    poll->data = owner;
    return poll;
}

void watch_close(uv_poll_t *poll)
{
    uv_poll_t **kept = place_of(poll->loop->data, watch_fd(poll));
    uv_poll_stop(poll); /* takes the descriptor out of the epoll set */
    poll->data = NULL;
    watch_free(*kept);
    *kept = poll;
}

void watch_free_kept(struct loop *l)
{
    for (unsigned i = 0; i < LOOP_KEPT; i++) {
        watch_free(l->kept[i]);
        l->kept[i] = NULL;
    }
}
