#include "tls_files.h"

#include "log.h"

static int watch_pair(struct file_watch *w, const struct tls_pair_files *pair)
{
    int status = file_watch_add(w, pair->cert_file);

    return status != 0 ? status : file_watch_add(w, pair->key_file);
}

int tls_files_watch_server(struct file_watch *w, const struct tls_server_options *options)
{
    int status = file_watch_add(w, options->client_ca_file);

    for (size_t i = 0; i < options->pair_count && status == 0; i++)
        status = watch_pair(w, &options->pairs[i]);
    return status;
}

int tls_files_watch_client(struct file_watch *w, const struct tls_client_options *options)
{
    const char *authorities = options->ca_file != NULL ? options->ca_file : TLS_SYSTEM_CA_FILE;
    int status = options->is_insecure ? 0 : file_watch_add(w, authorities);

    return status != 0 ? status : watch_pair(w, &options->pair);
}

void tls_files_log_reload(int status, const char *problem)
{
    struct log_record r;

    log_begin(&r, status == 0 ? LOG_INFO : LOG_ERROR, status == 0 ? "reloaded" : "not reloaded");
    if (status != 0)
        log_str(&r, "detail", problem);
    log_end(&r);
}
