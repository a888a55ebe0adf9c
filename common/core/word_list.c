#include "word_list.h"

#include <errno.h>
#include <string.h>

int word_list_add(struct word_list *list, const char *word, struct arena *arena)
{
    void *items = list->items;

    if (list->count == WORD_LIST_MAX)
        return -ENOSPC;
    if (!arena_grow(arena, &items, list->count, sizeof(*list->items)))
        return -ENOMEM;
    list->items = items;
    list->items[list->count++] = word;
    return 0;
}

int word_list_split(struct word_list *list, const char *text, const char *separators,
                    struct arena *arena)
{
    size_t before = list->count;

    for (text += strspn(text, separators); *text != '\0'; text += strspn(text, separators)) {
        size_t len = strcspn(text, separators);
        char *word = arena_copy(arena, text, len);
        int status = word == NULL ? -ENOMEM : word_list_add(list, word, arena);
        if (status != 0)
            return status;
        text += len;
    }
    return list->count > before ? 0 : -EINVAL;
}
