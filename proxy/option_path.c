#include "option_path.h"

#include <stdlib.h>
#include <string.h>

static const char prefix[] = "credential:";

/* As systemd has it (systemd.exec(5)): the name of a file. */
static bool is_name(const char *name)
{
    return name[0] != '\0' && strchr(name, '/') == NULL && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

bool option_path_resolve(const char *text, struct arena *arena, const char **out, const char **why)
{
    const char *folder = getenv("CREDENTIALS_DIRECTORY");

    *out = text;
    *why = "is empty";
    if (strncmp(text, prefix, strlen(prefix)) != 0)
        return *text != '\0';
    const char *name = text + strlen(prefix);
    *why = "credential: needs the name of one, without '/'";
    if (!is_name(name))
        return false;
    *why = "there are no credentials: CREDENTIALS_DIRECTORY is not set (systemd sets it for "
           "LoadCredential=)";
    if (folder == NULL || folder[0] == '\0')
        return false;
    *why = "out of memory";
    size_t folder_len = strlen(folder), name_len = strlen(name);
    char *path = arena_alloc(arena, folder_len + 1 + name_len + 1);
    if (path == NULL)
        return false;
    memcpy(path, folder, folder_len);
    path[folder_len] = '/';
    memcpy(path + folder_len + 1, name, name_len + 1);
    *out = path;
    return true;
}
