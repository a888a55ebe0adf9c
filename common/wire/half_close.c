#include "half_close.h"

#include "text.h"
#include "ws_frame.h"

#include <assert.h>
#include <string.h>

static const struct half_close_message invalid = {HALF_CLOSE_INVALID, 0};

static bool is_lower(uint8_t c)
{
    return c >= 'a' && c <= 'z';
}

static bool is_letter(uint8_t c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z');
}

/* The length of the word that `text` begins with, 0 if there is none. */
static size_t word_length(struct span text)
{
    if (text.len == 0 || !is_letter(text.data[0]))
        return 0;
    size_t n = 1;
    while (n < text.len && (is_letter(text.data[n]) || text.data[n] == '-' ||
                            (text.data[n] >= '0' && text.data[n] <= '9')))
        n++;
    return n;
}

static bool span_equals(struct span s, const char *word)
{
    return s.len == strlen(word) && memcmp(s.data, word, s.len) == 0;
}

static struct half_close_message parse_number(enum half_close_type type, struct span argument)
{
    uint64_t number;
    if (!text_parse_number((const char *)argument.data, argument.len, HALF_CLOSE_NUMBER_MAX,
                           &number))
        return invalid;
    return (struct half_close_message){type, number};
}

struct half_close_message half_close_parse(struct span text)
{
    size_t n = word_length(text);
    if (text.len > WS_CONTROL_MAX || n == 0 || text.len < n + 2 || text.data[n] != ' ')
        return invalid;
    struct span word = {text.data, n};
    struct span argument = {text.data + n + 1, text.len - n - 1};

    if (span_equals(word, "FIN"))
        return parse_number(HALF_CLOSE_FIN, argument);
    if (span_equals(word, "WINDOW"))
        return parse_number(HALF_CLOSE_WINDOW, argument);
    if (!is_lower(word.data[0]) || argument.data[0] == ' ')
        return invalid;
    for (size_t i = 0; i < argument.len; i++)
        if (argument.data[i] < 0x20 || argument.data[i] > 0x7E)
            return invalid;
    return (struct half_close_message){HALF_CLOSE_IGNORED, 0};
}

size_t half_close_write(struct half_close_message m, uint8_t out[HALF_CLOSE_TEXT_MAX])
{
    assert(m.type == HALF_CLOSE_FIN || m.type == HALF_CLOSE_WINDOW);
    assert(m.number <= HALF_CLOSE_NUMBER_MAX);
    struct text t;
    text_init(&t, (char *)out, HALF_CLOSE_TEXT_MAX);
    text_add(&t, m.type == HALF_CLOSE_FIN ? "FIN " : "WINDOW ");
    text_add_number(&t, m.number);
    return t.len;
}
