/* The tokens that open a route: a file of names and hashes. The tokens themselves are nowhere on
 * this side, so that whoever reads the file can do nothing with it.
 *
 *     # NAME SHA256HEX
 *     alice 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
 *
 * '#' begins a comment where a line begins; blank lines mean nothing. A name is what the log calls
 * the bearer: 64 characters at most out of letters, digits, '.', '_', '@', and '-' but in front.
 * Names are different, and so are hashes. One SHA-256 is enough for what tidegate makes (32 random
 * bytes, which nobody guesses), and too little for what people think up.
 *
 * A table does not change once it has been read, and may be used by all threads. */
#ifndef TIDEGATE_TOKEN_FILE_H
#define TIDEGATE_TOKEN_FILE_H

#include "crypto.h"
#include "text.h"

#define TOKEN_NAME_MAX         64
#define TOKEN_FILE_MAX         1048576 /* bytes */
#define TOKEN_FILE_ENTRIES_MAX 4096    /* each look-up goes through all of them */

struct token_file;

/* Reads `path`. 0 and `*out`, owned by the caller; or a negative errno with one line for people
 * added to `problem`: "tokens:3: ...". It never repeats what a line holds: that may be a token that
 * somebody put there by mistake. A file without tokens is refused. */
int token_file_read(const char *path, struct token_file **out, struct text *problem);

/* The same with what the file holds, for who has read it; here it may be empty. */
int token_file_parse(const char *path, const char *data, size_t len, struct token_file **out,
                     struct text *problem);

void token_file_free(struct token_file *f); /* NULL is fine */

size_t token_file_count(const struct token_file *f);

bool token_file_is_name(const char *name, size_t len);
bool token_file_has_name(const struct token_file *f, const char *name);

/* Whose token it is, by its SHA-256 (credentials.h makes that of what was presented); NULL:
 * nobody's. Valid as long as `f`. Compares with every entry, the whole of each, whichever it is:
 * the time says nothing but how many there are. */
const char *token_file_find(const struct token_file *f, const uint8_t digest[CRYPTO_SHA256_SIZE]);

#endif
