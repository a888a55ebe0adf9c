#include "wss.h"

#include "log.h"

int wss_prepare(struct dialer_config *config, struct text *problem)
{
    if (!config->url.is_tls)
        return 0;
    if (config->tls_options.is_insecure)
        log_line(LOG_WARN, "--insecure: the server's certificate is not checked%s",
                 config->tls_options.pin_sha256 != NULL
                     ? " beyond its pin"
                     : ", anybody in between can read and change everything");
    return wss_reload(config, problem);
}

int wss_reload(struct dialer_config *config, struct text *problem)
{
    struct tls_config *fresh;
    int status = tls_config_new_client(&config->tls_options, &fresh, problem);

    if (status != 0)
        return status;
    tls_config_free(config->tls);
    config->tls = fresh;
    return 0;
}

void wss_forget(struct dialer_config *config)
{
    tls_config_free(config->tls);
    config->tls = NULL;
}
