/* What `tidegate tunnel`, `stdio` and `probe` are told to do, beside what they share with serve.
 * Filled in by options.c, read-only afterwards; outlives whatever is started with it. */
#ifndef TIDEGATE_TUNNEL_CONFIG_H
#define TIDEGATE_TUNNEL_CONFIG_H

#include "../service/config.h"
#include "redial.h"

struct tunnel_config {
    const struct service_config *service;
    struct redial_config dial;
};

#endif
