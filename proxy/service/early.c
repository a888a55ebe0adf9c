#include "early.h"

#include <stdlib.h>
#include <string.h>

bool early_keep(struct early *e, struct span in)
{
    if (in.len == 0)
        return true;
    uint8_t *grown = realloc(e->bytes.data, e->bytes.len + in.len);
    if (grown == NULL)
        return false;
    memcpy(grown + e->bytes.len, in.data, in.len);
    e->bytes.data = grown;
    e->bytes.len += in.len;
    return true;
}

bool early_is_full(const struct early *e)
{
    return e->bytes.len >= EARLY_MAX;
}

void early_clear(struct early *e)
{
    free(e->bytes.data);
    *e = (struct early){0};
}
