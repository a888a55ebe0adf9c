/* A service under a service manager (notify.h): says when it is ready and when it stops, how many
 * connections there are, and that its loops go round, so that a stuck one is found. Without a
 * manager nothing is done. */
#ifndef TIDEGATE_SUPERVISED_H
#define TIDEGATE_SUPERVISED_H

#include "service.h"

struct supervised {
    struct service *service;
    struct scheduler *scheduler;
    struct deadline tick;
    uint64_t told_ms;   /* when `told` was */
    unsigned listeners; /* when it began */
    char told[64];      /* the status told last */
    bool is_stopping;
};

/* The service listens. All of it stays put until supervised_end. */
void supervised_begin(struct supervised *s, struct service *service, struct scheduler *scheduler);

/* A drain has begun. Once, more often does no harm; before supervised_begin neither. */
void supervised_stopping(struct supervised *s);

/* The loop has ended. */
void supervised_end(struct supervised *s);

#endif
