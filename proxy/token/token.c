#include "token.h"

#include "../serve/access/token_issue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

int token_run(struct settings *settings)
{
    const char *name = settings->token.name, *file = settings->token.append_file;
    char token[TOKEN_TEXT_SIZE], line[TOKEN_LINE_SIZE], problem[512];
    struct text t;

    text_init(&t, problem, sizeof(problem));
    if (token_issue_make(name, token, line) != 0) {
        fputs("tidegate: token: no random bytes to be had\n", stderr);
        return EX_OSERR;
    }
    if (file != NULL && token_issue_append(file, name, line, &t) != 0) {
        fprintf(stderr, "tidegate: token: %s\n", problem);
        return EX_IOERR;
    }
    if (printf("%s\n", token) < 0 || fflush(stdout) != 0) {
        fprintf(stderr, "tidegate: token: standard output: %s\n", strerror(errno));
        return EX_IOERR;
    }
    if (file == NULL && fprintf(stderr, "%s\n", line) < 0)
        return EX_IOERR;
    return EX_OK;
}
