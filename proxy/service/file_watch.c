#include "file_watch.h"

#include "span.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>

/* All zero: there is no such file. */
struct signature {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
};

struct watched {
    const char *path;
    struct signature known; /* told of, or there from the beginning */
    struct signature last;  /* seen by the last look */
};

struct file_watch {
    struct scheduler *scheduler;
    uint64_t interval_ms;
    void (*on_change)(void *arg);
    void *arg;
    struct deadline next_look;
    struct watched *files;
    size_t count;
};

static struct signature look_at(const char *path)
{
    struct stat st;

    if (stat(path, &st) != 0)
        return (struct signature){0};
    return (struct signature){st.st_dev, st.st_ino, st.st_size, st.st_mtim};
}

static bool is_same(const struct signature *a, const struct signature *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

static void look(struct deadline *d)
{
    struct file_watch *w = container_of(d, struct file_watch, next_look);
    bool has_changed = false, is_settled = true;

    for (size_t i = 0; i < w->count; i++) {
        struct watched *f = &w->files[i];
        struct signature now = look_at(f->path);
        has_changed |= !is_same(&now, &f->known);
        is_settled &= is_same(&now, &f->last);
        f->last = now;
    }
    deadline_set(w->scheduler, d, w->interval_ms);
    if (!has_changed || !is_settled)
        return;
    for (size_t i = 0; i < w->count; i++)
        w->files[i].known = w->files[i].last;
    w->on_change(w->arg);
}

struct file_watch *file_watch_new(struct scheduler *s, uint64_t interval_ms,
                                  void (*on_change)(void *arg), void *arg)
{
    struct file_watch *w = calloc(1, sizeof(*w));

    if (w == NULL)
        return NULL;
    w->scheduler = s;
    w->interval_ms = interval_ms;
    w->on_change = on_change;
    w->arg = arg;
    deadline_init(&w->next_look, look);
    if (interval_ms > 0)
        deadline_set(s, &w->next_look, interval_ms);
    return w;
}

int file_watch_add(struct file_watch *w, const char *path)
{
    struct watched *files;

    if (path == NULL)
        return 0;
    files = realloc(w->files, (w->count + 1) * sizeof(*files));
    if (files == NULL)
        return -ENOMEM;
    w->files = files;
    files[w->count].path = path;
    files[w->count].known = files[w->count].last = look_at(path);
    w->count++;
    return 0;
}

void file_watch_note(struct file_watch *w)
{
    for (size_t i = 0; i < w->count; i++)
        w->files[i].known = w->files[i].last = look_at(w->files[i].path);
}

void file_watch_free(struct file_watch *w)
{
    if (w == NULL)
        return;
    deadline_clear(w->scheduler, &w->next_look);
    free(w->files);
    free(w);
}
