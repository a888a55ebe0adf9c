/* What `tidegate token` is told. */
#ifndef TIDEGATE_TOKEN_CONFIG_H
#define TIDEGATE_TOKEN_CONFIG_H

struct token_config {
    const char *name;
    const char *append_file; /* NULL: none */
};

#endif
