#include "route_slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct route_slots *add(struct route_slots **list, const char *name)
{
    size_t size = strlen(name) + 1;
    struct route_slots *r = calloc(1, sizeof(*r) + size);

    if (r == NULL)
        return NULL;
    memcpy(r->name, name, size);
    r->next = *list;
    *list = r;
    return r;
}

int route_slots_take(struct route_slots **list, const char *name, uint64_t most,
                     struct route_slots **out)
{
    struct route_slots *r = *list;

    while (r != NULL && strcmp(r->name, name) != 0)
        r = r->next;
    if (r != NULL && most != 0 && r->taken >= most)
        return -EBUSY;
    if (r == NULL)
        r = add(list, name);
    if (r == NULL)
        return -ENOMEM;
    r->taken++;
    *out = r;
    return 0;
}

void route_slots_give(struct route_slots **list, struct route_slots *slots)
{
    if (slots == NULL || --slots->taken > 0)
        return;
    while (*list != slots)
        list = &(*list)->next;
    *list = slots->next;
    free(slots);
}
