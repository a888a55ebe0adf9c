/* Makes tokens, and puts them into a file of them (token_file.h). */
#ifndef TIDEGATE_TOKEN_ISSUE_H
#define TIDEGATE_TOKEN_ISSUE_H

#include "token_file.h"

#define TOKEN_TEXT_SIZE 44 /* 32 random bytes in base64url, terminated */
#define TOKEN_LINE_SIZE (TOKEN_NAME_MAX + 1 + 2 * CRYPTO_SHA256_SIZE + 1)

/* A new token and the line of the file that lets it in ("NAME SHA256HEX", without a newline).
 * `name` is one (token_file_is_name). 0, or -EIO if there is no randomness. */
int token_issue_make(const char *name, char token[TOKEN_TEXT_SIZE], char line[TOKEN_LINE_SIZE]);

/* Adds `line`, which is for `name`, to the end of the file; makes the file if there is none (for
 * all to read: it holds no secret). Either the whole line is in the file, on disk, or the file is
 * as it was. Refused if the file is not good as it is or has that name. Two at a time wait for each
 * other. 0, or a negative errno with one line for people added to `problem`. */
int token_issue_append(const char *path, const char *name, const char *line, struct text *problem);

#endif
