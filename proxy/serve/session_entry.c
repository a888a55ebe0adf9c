#include "session_entry.h"

#include "crypto.h"

#include <stdlib.h>
#include <string.h>

#define ID_BYTES 16 /* of a unique id of ours */

const char *session_client_name(const struct session *s)
{
    return s->client_name != NULL ? s->client_name : s->peer_name;
}

const char *session_backend_name(const struct session *s)
{
    return s->backend != NULL ? s->backend->name : s->target_name;
}

struct access_entry session_entry(const struct session *s)
{
    return (struct access_entry){
        .names = &access_log_serve,
        .conn = s->base.id,
        .client = session_client_name(s),
        .client_doubt = s->client_doubt,
        .peer = s->client_name != NULL ? s->peer_name : NULL,
        .unique_id = s->unique_id,
        .route = s->route != NULL ? s->route->name : NULL,
        .bearer = s->bearer,
        .backend = session_backend_name(s),
        .identity = s->identity,
        .trace_id = s->trace_id,
        .duration_ms = loop_now_ms(s->host->loop) - s->base.started_ms,
    };
}

bool session_note_client(struct session *s, const struct provenance *from)
{
    char name[IP_ENDPOINT_TEXT_MAX];

    s->client_doubt = from->client.doubt;
    free(s->client_name);
    s->client_name = NULL;
    if (!provenance_client_name(from, name))
        return true;
    s->client_name = strdup(name);
    return s->client_name != NULL;
}

bool session_note_unique_id(struct session *s, const struct provenance *from)
{
    size_t len;
    const char *id = provenance_unique_id(from, &len);

    if (id != NULL)
        s->unique_id = strndup(id, len);
    return id == NULL || s->unique_id != NULL;
}

bool session_make_unique_id(struct session *s)
{
    uint8_t bytes[ID_BYTES];

    if (s->unique_id != NULL)
        return true;
    s->unique_id = malloc(2 * sizeof(bytes) + 1);
    if (s->unique_id == NULL || crypto_random(bytes, sizeof(bytes)) != 0) {
        free(s->unique_id);
        s->unique_id = NULL;
        return false;
    }
    crypto_hex(bytes, sizeof(bytes), s->unique_id);
    return true;
}
