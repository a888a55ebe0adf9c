#include "versions.h"

#include "crypto.h"
#include "loop.h"
#include "ws_handshake.h"

void versions_print(FILE *out)
{
    fprintf(out, "tidegate %s\nlibuv %s\nmbedtls %s\nllhttp %s\n", TIDEGATE_VERSION,
            loop_library_version(), crypto_library_version(), ws_head_library_version());
}
