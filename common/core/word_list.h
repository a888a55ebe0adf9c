/* A list of words as a user gave them: origins, names, paths. The words and the list live in an
 * arena, or longer. */
#ifndef TIDEGATE_WORD_LIST_H
#define TIDEGATE_WORD_LIST_H

#include "arena.h"

#define WORD_LIST_MAX 4096

struct word_list {
    size_t count;
    const char **items;
}; /* all zero: empty */

/* Adds `word`, which is not copied. 0, -ENOSPC if it is full, or -ENOMEM. */
int word_list_add(struct word_list *list, const char *word, struct arena *arena);

/* Adds copies of the words of `text`, between which there is any number of `separators`. 0, -EINVAL
 * if there are none, or as above. */
int word_list_split(struct word_list *list, const char *text, const char *separators,
                    struct arena *arena);

#endif
