#include "nearest.h"

#include <string.h>

#define WORD_MAX 31

/* Levenshtein's distance, for words of at most WORD_MAX characters. */
static size_t edit_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[WORD_MAX + 1];

    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[b_len];
}

void nearest_begin(struct nearest *n, const char *word, size_t len)
{
    *n = (struct nearest){.word = word, .len = len, .least = 3, .longest = 2};
}

void nearest_offer(struct nearest *n, const char *name)
{
    size_t common = 0, name_len = strlen(name);

    if (n->len > WORD_MAX || name_len > WORD_MAX)
        return;
    size_t distance = edit_distance(n->word, n->len, name, name_len);
    if (distance < n->least) {
        n->least = distance;
        n->close = name;
    }
    while (common < n->len && common < name_len && n->word[common] == name[common])
        common++;
    if (common > n->longest) {
        n->longest = common;
        n->alike = name;
    }
}

const char *nearest_found(const struct nearest *n)
{
    return n->close != NULL ? n->close : n->alike;
}
