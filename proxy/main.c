/* tidegate: the command line. */
#include "demo/demo.h"
#include "log.h"
#include "option_print.h"
#include "options.h"
#include "serve/serve.h"
#include "subcommand.h"
#include "token/token.h"
#include "tunnel/probe.h"
#include "tunnel/stdio_run.h"
#include "tunnel/tunnel.h"
#include "tunnel/wss.h"
#include "versions.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

/* What they run. */
static int (*const runners[SUBCOMMAND_COUNT])(struct settings *settings) = {
    [SUBCOMMAND_SERVE] = serve_run,   [SUBCOMMAND_CHECK] = serve_check,
    [SUBCOMMAND_TUNNEL] = tunnel_run, [SUBCOMMAND_STDIO] = stdio_run,
    [SUBCOMMAND_PROBE] = probe_run,   [SUBCOMMAND_DEMO] = demo_run,
    [SUBCOMMAND_TOKEN] = token_run,
};

static void print_help(FILE *out)
{
    fputs("tidegate: a WebSocket-to-TCP proxy that preserves half-close\n\nusage:\n", out);
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
        fprintf(out, "  tidegate %-8s %s\n", subcommand_table[i].name, subcommand_table[i].summary);
    fputs("  tidegate version  print versions\n"
          "  tidegate help     print this\n"
          "\n"
          "tidegate SUBCOMMAND --help lists the flags of one.\n",
          out);
}

static void print_subcommand_help(const struct subcommand *s)
{
    printf("usage: tidegate %s %s\n\n%s\n", s->name, s->usage, s->about);
    options_print(s->command, stdout);
    if (s->command == COMMAND_TOKEN)
        return;
    fputs("\n"
          "ADDR is HOST:PORT, :PORT (loopback), [V6]:PORT or unix:PATH; to listen on also "
          "systemd:NAME.\n"
          "URL is ws:// or wss://HOST[:PORT][/PATH].\n"
          "TIME is like 250ms, 10s, 5m, 1h.\n"
          "Each flag can be set in the environment, too: --ping-interval is "
          "TIDEGATE_PING_INTERVAL.\n",
          stdout);
}

static int start(enum subcommand_id id, struct settings *settings)
{
    const struct subcommand *s = &subcommand_table[id];
    struct dialer_config *dialer = &settings->tunnel.dial.dialer;
    char problem[OPTIONS_PROBLEM_MAX];
    struct text t;

    if (settings->prints_config) {
        option_print(s->command, settings, stdout);
        return EX_OK;
    }
    log_setup((enum log_level)settings->log_level, (enum log_format)settings->log_format, 2);
    text_init(&t, problem, sizeof(problem));
    if (wss_prepare(dialer, &t) != 0) {
        fprintf(stderr, "tidegate: %s: %s\n", s->name, problem);
        return EX_OSERR;
    }
    int status = runners[id](settings);
    wss_forget(dialer);
    return status;
}

static int run_subcommand(enum subcommand_id id, int argc, char **argv)
{
    const struct subcommand *s = &subcommand_table[id];
    struct settings *settings = options_new();
    char problem[OPTIONS_PROBLEM_MAX] = "out of memory";
    int status = EX_OK;

    enum options_result result =
        settings == NULL ? OPTIONS_BAD : options_parse(s->command, argc, argv, settings, problem);
    if (result == OPTIONS_OK) {
        status = start(id, settings);
    } else if (result == OPTIONS_HELP) {
        print_subcommand_help(s);
    } else {
        fprintf(stderr, "tidegate: %s: %s\n", s->name, problem);
        status = result == OPTIONS_BAD_FILE  ? EX_CONFIG
                 : result == OPTIONS_NO_FILE ? EX_NOINPUT
                                             : EX_USAGE;
    }
    options_release(settings);
    return status;
}

static bool is_one_of(const char *word, const char *a, const char *b, const char *c)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0 || strcmp(word, c) == 0;
}

static int refuse(const char *what, const char *why)
{
    fprintf(stderr, "tidegate: %.100s%s (", what, why);
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++)
        fprintf(stderr, "%s, ", subcommand_table[i].name);
    fputs("version, help)\n", stderr);
    return EX_USAGE;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return refuse("no subcommand given", "");
    if (is_one_of(argv[1], "help", "--help", "-h")) {
        print_help(stdout);
        return EX_OK;
    }
    if (is_one_of(argv[1], "version", "--version", "-V")) {
        versions_print(stdout);
        return EX_OK;
    }
    for (size_t i = 0; i < SUBCOMMAND_COUNT; i++) {
        if (strcmp(argv[1], subcommand_table[i].name) == 0)
            return run_subcommand((enum subcommand_id)i, argc - 2, argv + 2);
    }
    return refuse(argv[1], ": unknown subcommand");
}
