#include "sorter.h"

#include <stdlib.h>
#include <string.h>

void sorter_init(struct sorter *s)
{
    *s = (struct sorter){0};
}

static void give_up(struct sorter *s)
{
    sorter_clear(s);
    s->is_over = true;
}

/* Room for `more`, and for a newline. */
static bool make_room(struct sorter *s, size_t more)
{
    size_t room = s->room == 0 ? 1024 : s->room;
    uint8_t *bytes;

    if (more > SORTER_MAX - s->len)
        return false;
    while (room < s->len + more + 1)
        room *= 2;
    if (room == s->room)
        return true;
    bytes = realloc(s->bytes, room);
    if (bytes == NULL)
        return false;
    s->bytes = bytes;
    s->room = room;
    return true;
}

void sorter_add(struct sorter *s, struct span bytes)
{
    if (s->is_over || bytes.len == 0)
        return;
    if (!make_room(s, bytes.len)) {
        give_up(s);
        return;
    }
    memcpy(s->bytes + s->len, bytes.data, bytes.len);
    s->len += bytes.len;
}

static int compare(const void *a, const void *b)
{
    const struct span *left = a, *right = b;
    size_t len = left->len < right->len ? left->len : right->len;
    int order = memcmp(left->data, right->data, len);

    return order != 0 ? order : (left->len > right->len) - (left->len < right->len);
}

/* Of something that ends with a newline. */
static size_t count_lines(const struct sorter *s)
{
    size_t count = 1;

    for (size_t i = 0; i < s->len - 1; i++)
        count += s->bytes[i] == '\n';
    return count;
}

size_t sorter_sort(struct sorter *s)
{
    uint8_t *at = s->bytes, *end;

    if (s->len == 0)
        return 0;
    if (s->bytes[s->len - 1] != '\n')
        s->bytes[s->len++] = '\n';
    s->count = count_lines(s);
    s->lines = calloc(s->count, sizeof(*s->lines));
    if (s->lines == NULL) {
        give_up(s);
        return 0;
    }
    for (size_t i = 0; i < s->count; i++) {
        end = memchr(at, '\n', (size_t)(s->bytes + s->len - at));
        s->lines[i] = (struct span){at, (size_t)(end - at) + 1};
        at = end + 1;
    }
    qsort(s->lines, s->count, sizeof(*s->lines), compare);
    return s->count;
}

bool sorter_next(struct sorter *s, struct span *line)
{
    if (s->next == s->count)
        return false;
    *line = s->lines[s->next++];
    return true;
}

void sorter_clear(struct sorter *s)
{
    free(s->bytes);
    free(s->lines);
    *s = (struct sorter){0};
}
