#include "route_slots.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct route_slots *add(struct route_slots_table *table, const char *name)
{
    size_t size = strlen(name) + 1;
    struct route_slots *r = calloc(1, sizeof(*r) + size);

    if (r == NULL)
        return NULL;
    memcpy(r->name, name, size);
    r->next = table->first;
    table->first = r;
    return r;
}

static int take(struct route_slots_table *table, const char *name, uint64_t most,
                struct route_slots **out)
{
    struct route_slots *r = table->first;

    while (r != NULL && strcmp(r->name, name) != 0)
        r = r->next;
    if (r != NULL && most != 0 && r->taken >= most)
        return -EBUSY;
    if (r == NULL)
        r = add(table, name);
    if (r == NULL)
        return -ENOMEM;
    r->taken++;
    *out = r;
    return 0;
}

int route_slots_take(struct route_slots_table *table, const char *name, uint64_t most,
                     struct route_slots **out)
{
    pthread_mutex_lock(&table->lock);
    int status = take(table, name, most, out);
    pthread_mutex_unlock(&table->lock);
    return status;
}

static void forget(struct route_slots_table *table, struct route_slots *slots)
{
    struct route_slots **link = &table->first;

    while (*link != slots)
        link = &(*link)->next;
    *link = slots->next;
    free(slots);
}

void route_slots_give(struct route_slots_table *table, struct route_slots *slots)
{
    if (slots == NULL)
        return;
    pthread_mutex_lock(&table->lock);
    if (--slots->taken == 0)
        forget(table, slots);
    pthread_mutex_unlock(&table->lock);
}
