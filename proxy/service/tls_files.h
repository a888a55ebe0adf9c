/* Which files TLS settings are read from, and what is said when they have been read again. */
#ifndef TIDEGATE_TLS_FILES_H
#define TIDEGATE_TLS_FILES_H

#include "file_watch.h"
#include "tls_config.h"

/* Watches each of them. 0 or -ENOMEM. */
int tls_files_watch_server(struct file_watch *w, const struct tls_server_options *options);
int tls_files_watch_client(struct file_watch *w, const struct tls_client_options *options);

/* Into the log. `problem` is one line for people if status is not 0. */
void tls_files_log_reload(int status, const char *problem);

#endif
