#include "openings.h"

#include <assert.h>
#include <stddef.h>

void openings_init(struct openings *o, uint64_t limit)
{
    assert(limit > 0);
    *o = (struct openings){.limit = limit};
    o->newest = &o->oldest;
}

struct openings_place *openings_add(struct openings *o, struct openings_place *place)
{
    assert(place->link == NULL);
    place->next = NULL;
    place->link = o->newest;
    *o->newest = place;
    o->newest = &place->next;
    o->count++;
    return o->count > o->limit ? o->oldest : NULL;
}

void openings_remove(struct openings *o, struct openings_place *place)
{
    if (place->link == NULL)
        return;
    *place->link = place->next;
    if (place->next != NULL)
        place->next->link = place->link;
    else
        o->newest = place->link;
    place->link = NULL;
    o->count--;
}
