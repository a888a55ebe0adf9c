#include "model_tls.h"

#include "tls_certs.h"

#include <stdint.h>
#include <string.h>

const char model_tls_plain_answer[] = "HTTP/1.1 400 Bad Request\r\n\r\nspeak TLS\n";

bool model_tls_init(struct tls_config *configs[MODEL_TLS_COUNT])
{
    static char answer[sizeof model_tls_plain_answer];
    char buffer[512];
    struct text problem;
    struct tls_certs certs;
    text_init(&problem, buffer, sizeof buffer);
    memcpy(answer, model_tls_plain_answer, sizeof answer);
    for (int i = 0; i < MODEL_TLS_COUNT; i++)
        configs[i] = NULL;
    bool is_good = tls_certs_make(&certs);
    struct tls_client_options client = {
        .ca_file = certs.ca, .pair = {certs.no_names, certs.key}, .speaks_http = true};
    struct tls_server_options server = {.pairs = {{certs.good, certs.key}},
                                        .pair_count = 1,
                                        .plain_answer = {(uint8_t *)answer, sizeof answer - 1}};
    struct tls_server_options asking = server;
    asking.client_ca_file = certs.ca;
    asking.client_verify = TLS_CLIENT_OPTIONAL;
    is_good = is_good &&
              tls_config_new_client(&client, &configs[MODEL_TLS_CLIENT], &problem) == 0 &&
              tls_config_new_server(&server, &configs[MODEL_TLS_SERVER], &problem) == 0 &&
              tls_config_new_server(&asking, &configs[MODEL_TLS_ASKING_SERVER], &problem) == 0;
    tls_certs_remove(&certs);
    if (!is_good)
        model_tls_free(configs);
    return is_good;
}

void model_tls_free(struct tls_config *configs[MODEL_TLS_COUNT])
{
    for (int i = 0; i < MODEL_TLS_COUNT; i++) {
        tls_config_free(configs[i]);
        configs[i] = NULL;
    }
}
