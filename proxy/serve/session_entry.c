#include "session_entry.h"

#include "crypto.h"

#include <stdlib.h>
#include <string.h>

#define ID_BYTES 16 /* of a unique id of ours */

const struct session_notes *session_noted(const struct session *s)
{
    static const struct session_notes none;
    return s->notes != NULL ? s->notes : &none;
}

struct session_notes *session_notes(struct session *s)
{
    if (s->notes == NULL)
        s->notes = calloc(1, sizeof(*s->notes));
    return s->notes;
}

void session_notes_free(struct session_notes *n)
{
    if (n == NULL)
        return;
    free(n->target_name);
    free(n->bearer);
    free(n->identity);
    free(n->trace_id);
    free(n->client_name);
    free(n->unique_id);
    free(n);
}

const char *session_client_name(const struct session *s)
{
    const char *told = session_noted(s)->client_name;
    return told != NULL ? told : s->peer_name;
}

const char *session_backend_name(const struct session *s)
{
    return s->backend != NULL ? s->backend->name : session_noted(s)->target_name;
}

struct access_entry session_entry(const struct session *s)
{
    const struct session_notes *n = session_noted(s);

    return (struct access_entry){
        .names = &access_log_serve,
        .conn = s->base.id,
        .client = session_client_name(s),
        .client_doubt = n->client_doubt,
        .peer = n->client_name != NULL ? s->peer_name : NULL,
        .unique_id = n->unique_id,
        .route = s->route != NULL ? s->route->name : NULL,
        .bearer = n->bearer,
        .backend = session_backend_name(s),
        .identity = n->identity,
        .trace_id = n->trace_id,
        .duration_ms = loop_now_ms(s->host->loop) - s->base.started_ms,
    };
}

bool session_note_client(struct session *s, const struct provenance *from)
{
    char name[IP_ENDPOINT_TEXT_MAX];
    bool has_name = provenance_client_name(from, name);
    struct session_notes *n = s->notes;

    if (n == NULL && (has_name || from->client.doubt != NULL)) {
        n = session_notes(s);
        if (n == NULL)
            return false;
    }
    if (n == NULL)
        return true;
    n->client_doubt = from->client.doubt;
    free(n->client_name);
    n->client_name = has_name ? strdup(name) : NULL;
    return !has_name || n->client_name != NULL;
}

bool session_note_unique_id(struct session *s, const struct provenance *from)
{
    size_t len;
    const char *id = provenance_unique_id(from, &len);
    struct session_notes *n = id != NULL ? session_notes(s) : NULL;

    if (n != NULL)
        n->unique_id = strndup(id, len);
    return id == NULL || (n != NULL && n->unique_id != NULL);
}

bool session_make_unique_id(struct session *s)
{
    uint8_t bytes[ID_BYTES];
    struct session_notes *n = session_notes(s);

    if (n == NULL)
        return false;
    if (n->unique_id != NULL)
        return true;
    n->unique_id = malloc(2 * sizeof(bytes) + 1);
    if (n->unique_id == NULL || crypto_random(bytes, sizeof(bytes)) != 0) {
        free(n->unique_id);
        n->unique_id = NULL;
        return false;
    }
    crypto_hex(bytes, sizeof(bytes), n->unique_id);
    return true;
}
