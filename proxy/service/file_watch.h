/* Files that are to be read again when they have changed. Looks at each by stat(2) from time to
 * time: that sees a file written anew, another one renamed into its place, and a symbolic link in
 * its path that has been turned elsewhere (as Kubernetes does), on any file system. A change is
 * told when two looks in a row have seen the same, so that a pair of files that is being replaced
 * is not read half old and half new. */
#ifndef TIDEGATE_FILE_WATCH_H
#define TIDEGATE_FILE_WATCH_H

#include "scheduler.h"

struct file_watch;

/* `on_change` comes from the loop, once for each change, whether or not what is there now is good.
 * `interval_ms` is between two looks; 0: it never looks. NULL when out of memory. */
struct file_watch *file_watch_new(struct scheduler *s, uint64_t interval_ms,
                                  void (*on_change)(void *arg), void *arg);

/* As it is now, or is not there, is no change: to be called before it is read. `path` is not
 * copied; NULL is nothing to watch. 0 or -ENOMEM. */
int file_watch_add(struct file_watch *w, const char *path);

/* What is there now is about to be read for another reason: no change. */
void file_watch_note(struct file_watch *w);

/* NULL is fine. */
void file_watch_free(struct file_watch *w);

#endif
