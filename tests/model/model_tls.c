#include "model_tls.h"

#include "tls_certs.h"

#include <stdint.h>
#include <string.h>

const char model_tls_plain_answer[] = "HTTP/1.1 400 Bad Request\r\n\r\nspeak TLS\n";

bool model_tls_init(struct tls_config *configs[2])
{
    static char answer[sizeof model_tls_plain_answer];
    char buffer[512];
    struct text problem;
    struct tls_certs certs;
    text_init(&problem, buffer, sizeof buffer);
    memcpy(answer, model_tls_plain_answer, sizeof answer);
    configs[MODEL_TLS_CLIENT] = configs[MODEL_TLS_SERVER] = NULL;
    bool is_good = tls_certs_make(&certs);
    struct tls_client_options client = {.ca_file = certs.ca, .speaks_http = true};
    struct tls_server_options server = {.pairs = {{certs.good, certs.key}},
                                        .pair_count = 1,
                                        .plain_answer = {(uint8_t *)answer, sizeof answer - 1}};
    is_good = is_good &&
              tls_config_new_client(&client, &configs[MODEL_TLS_CLIENT], &problem) == 0 &&
              tls_config_new_server(&server, &configs[MODEL_TLS_SERVER], &problem) == 0;
    tls_certs_remove(&certs);
    if (!is_good)
        model_tls_free(configs);
    return is_good;
}

void model_tls_free(struct tls_config *configs[2])
{
    for (int i = 0; i < 2; i++) {
        tls_config_free(configs[i]);
        configs[i] = NULL;
    }
}
