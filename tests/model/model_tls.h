/* TLS settings for models: certificates made at the start, in files that are gone when they have
 * been read. */
#ifndef TIDEGATE_MODEL_TLS_H
#define TIDEGATE_MODEL_TLS_H

#include "tls_config.h"

#include <stdbool.h>

enum model_tls_role {
    MODEL_TLS_CLIENT, /* has a certificate, if asked */
    MODEL_TLS_SERVER,
    MODEL_TLS_ASKING_SERVER, /* asks for one, and does without */
    MODEL_TLS_COUNT
};

#define MODEL_TLS_HOST "tidegate.test"

/* What the server says, without TLS, to HTTP without TLS. */
extern const char model_tls_plain_answer[];

/* False: could not be made. */
bool model_tls_init(struct tls_config *configs[MODEL_TLS_COUNT]);
void model_tls_free(struct tls_config *configs[MODEL_TLS_COUNT]);

#endif
