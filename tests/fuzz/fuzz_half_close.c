/* The half-close control codec: whatever is accepted as FIN or WINDOW is exactly what is written
 * for it, so each message has one form; whatever is written is read back. */
#include "fuzz.h"
#include "half_close.h"

#include <string.h>

/* The first bytes as a number to write. */
static void check_written(const uint8_t *data, size_t size)
{
    uint64_t number = 0;
    memcpy(&number, data, size < sizeof(number) ? size : sizeof(number));
    number >>= number % 61; /* all magnitudes alike */
    number %= HALF_CLOSE_NUMBER_MAX + 1;
    for (int type = HALF_CLOSE_FIN; type <= HALF_CLOSE_WINDOW; type++) {
        uint8_t text[HALF_CLOSE_TEXT_MAX];
        struct half_close_message m = {(enum half_close_type)type, number};
        size_t len = half_close_write(m, text);
        FUZZ_CHECK(len <= sizeof(text));
        struct half_close_message back = half_close_parse((struct span){text, len});
        FUZZ_CHECK(back.type == m.type && back.number == number);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL)
        return 0;
    if (size > 0)
        memcpy(copy, data, size);
    struct half_close_message m = half_close_parse((struct span){copy, size});
    FUZZ_CHECK(size == 0 || memcmp(copy, data, size) == 0);
    FUZZ_CHECK(size <= 125 || m.type == HALF_CLOSE_INVALID);
    uint8_t text[HALF_CLOSE_TEXT_MAX];
    switch (m.type) {
    case HALF_CLOSE_FIN:
    case HALF_CLOSE_WINDOW:
        FUZZ_CHECK(m.number <= HALF_CLOSE_NUMBER_MAX);
        FUZZ_CHECK(half_close_write(m, text) == size && memcmp(text, data, size) == 0);
        break;
    case HALF_CLOSE_IGNORED:
        FUZZ_CHECK(data[0] >= 'a' && data[0] <= 'z');
        FUZZ_CHECK(memchr(data, ' ', size) != NULL);
        break;
    case HALF_CLOSE_INVALID:
        break;
    }
    check_written(data, size);
    free(copy);
    return 0;
}
