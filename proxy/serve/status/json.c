#include "json.h"

#include "utf8.h"

#include <string.h>

void json_add_string(struct text *t, const char *s)
{
    size_t len = strlen(s);
    struct utf8 u = {0};
    bool is_utf8 = utf8_feed(&u, (const uint8_t *)s, len) && utf8_is_complete(&u);

    text_add(t, "\"");
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\')
            text_addf(t, "\\%c", c);
        else if (c < 0x20 || c == 0x7F)
            text_addf(t, "\\u%04x", c);
        else if (c >= 0x80 && !is_utf8)
            text_add(t, "\\ufffd");
        else
            text_add_bytes(t, &s[i], 1);
    }
    text_add(t, "\"");
}
