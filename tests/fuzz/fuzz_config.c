/* The configuration file: whatever is wrong is told with its place, and what is taken prints as a
 * configuration that says the same. */
#include "config_file.h"
#include "fuzz.h"
#include "option_print.h"

#include <string.h>

#define NAME "f"

static bool read_all(const char *text, size_t len, struct settings *s)
{
    const struct config_file file = {.path = NAME, .text = text, .len = len};
    char problem[OPTIONS_PROBLEM_MAX] = "";
    struct text t;

    *s = (struct settings){.config_file = NAME};
    text_init(&t, problem, sizeof(problem));
    bool is_good = config_file_read_top(&file, s, &t) &&
                   (s->server.routes_line == 0 || config_file_read_routes(&file, s, &t));
    FUZZ_CHECK(is_good == (problem[0] == '\0'));
    FUZZ_CHECK(is_good || strncmp(problem, NAME ":", strlen(NAME) + 1) == 0);
    FUZZ_CHECK(strchr(problem, '\n') == NULL);
    return is_good;
}

static char *print(const struct settings *s, size_t *len)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, len);

    FUZZ_CHECK(f != NULL);
    option_print(COMMAND_SERVE, s, f);
    FUZZ_CHECK(fclose(f) == 0);
    return text;
}

/* Without the comments, which name other lines. */
static void strip(char *text)
{
    char *to = text;

    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        char *comment = NULL;
        for (char *at = line; (at = strstr(at, "  # ")) != NULL; at++)
            comment = at;
        size_t len = comment == NULL ? strlen(line) : (size_t)(comment - line);
        if (strncmp(line, "# ", 2) == 0)
            continue;
        memmove(to, line, len);
        to += len;
        *to++ = '\n';
    }
    *to = '\0';
}

static bool is_ascii(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text > 126)
            return false;
    return true;
}

/* Comments only: that is no configuration. */
static bool is_empty(const char *text)
{
    for (; *text != '\0'; text += strcspn(text, "\n") + 1)
        if (*text != '#')
            return false;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct settings first, second;
    char *copy = malloc(size + 1), *once, *twice;
    size_t len = 0;

    if (copy == NULL)
        return 0;
    if (size > 0)
        memcpy(copy, data, size);
    copy[size] = '\0';
    if (read_all(copy, size, &first)) {
        once = print(&first, &len);
        if (is_ascii(once) && len < CONFIG_FILE_MAX) { /* others: libyaml does not take them all */
            FUZZ_CHECK(read_all(once, len, &second) || is_empty(once));
            twice = print(&second, &len);
            strip(once);
            strip(twice);
            FUZZ_CHECK(strcmp(once, twice) == 0);
            options_forget(&second);
            free(twice);
        }
        free(once);
    }
    options_forget(&first);
    free(copy);
    return 0;
}
