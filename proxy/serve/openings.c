#include "openings.h"

#include <assert.h>
#include <stddef.h>

static void append(struct openings_list *list, struct openings_place *place)
{
    place->in = list;
    place->next = NULL;
    place->link = list->newest;
    *list->newest = place;
    list->newest = &place->next;
    list->count++;
}

void openings_init(struct openings *o, uint64_t limit)
{
    assert(limit > 0);
    *o = (struct openings){.limit = limit};
    o->fresh.newest = &o->fresh.oldest;
    o->answered.newest = &o->answered.oldest;
}

struct openings_place *openings_add(struct openings *o, struct openings_place *place)
{
    assert(place->in == NULL);
    append(&o->fresh, place);
    if (o->fresh.count + o->answered.count <= o->limit)
        return NULL;
    return o->answered.count > o->limit / 2 ? o->answered.oldest : o->fresh.oldest;
}

void openings_answered(struct openings *o, struct openings_place *place)
{
    if (place->in == NULL)
        return;
    openings_remove(place);
    append(&o->answered, place);
}

void openings_remove(struct openings_place *place)
{
    if (place->in == NULL)
        return;
    *place->link = place->next;
    if (place->next != NULL)
        place->next->link = place->link;
    else
        place->in->newest = place->link;
    place->in->count--;
    place->in = NULL;
}
