/* tidegate: the command line. */
#include "demo/demo.h"
#include "log.h"
#include "option_print.h"
#include "options.h"
#include "serve/serve.h"
#include "token/token.h"
#include "tunnel/probe.h"
#include "tunnel/stdio_run.h"
#include "tunnel/tunnel.h"
#include "tunnel/wss.h"
#include "versions.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

struct subcommand {
    const char *name;
    enum command command;
    int (*run)(struct settings *settings);
    const char *usage; /* what follows the name */
    const char *summary;
    const char *about;
};

static const struct subcommand subcommands[] = {
    {"serve", COMMAND_SERVE, serve_run, "--listen ADDR... --backend ADDR [flags]",
     "accept WebSocket clients, bridge each to a TCP or unix-socket backend",
     "Accepts WebSocket clients and connects each to the backend. The end of one direction leaves "
     "the\n"
     "other one open, and a failure never looks like an end.\n"
     "\n"
     "SIGTERM and SIGINT let open connections end within the drain timeout; a second one does not "
     "wait.\n"},
    {"check", COMMAND_SERVE, serve_check, "--config FILE [flags]",
     "check the configuration of serve, without serving",
     "Reads what `tidegate serve` would read with the same flags and environment: the "
     "configuration "
     "file,\n"
     "certificates, tokens. Listens nowhere and connects to nothing.\n"
     "\n"
     "Exits with 0 if all is well; 78: something is wrong with it; 66: the file cannot be read.\n"},
    {"tunnel", COMMAND_TUNNEL, tunnel_run, "--listen ADDR... [flags] URL",
     "accept local TCP programs, carry each over a WebSocket to a tidegate server",
     "Accepts local connections and carries each over a WebSocket of its own to the server at URL "
     "and\n"
     "the backend behind it. To the program at either end it is one plain TCP connection: the end "
     "of a\n"
     "direction is an end, a failure a reset.\n"
     "\n"
     "SIGTERM and SIGINT let open connections end within the drain timeout; a second one does not "
     "wait.\n"},
    {"stdio", COMMAND_STDIO, stdio_run, "[flags] URL",
     "the same for standard input and output: ssh -o ProxyCommand='tidegate stdio URL'",
     "Carries standard input and output over a WebSocket to the server at URL and the backend "
     "behind\n"
     "it. The end of input ends that direction; the other one is read to its own end.\n"
     "\n"
     "Exits with 0 if both directions were complete; else 68: name not found, 69: cannot be "
     "reached,\n"
     "71: system error, 74: lost or reset in mid-stream, 76: not the right protocol, 77: "
     "denied.\n"},
    {"probe", COMMAND_PROBE, probe_run, "[flags] URL",
     "check that a server and its backend can be reached with half-close",
     "Opens one WebSocket to the server at URL, checks that half-close was agreed, and ends it "
     "without\n"
     "a byte of data. Prints one line. Exit status as of tidegate stdio: 0 if all is well.\n"},
    {"demo", COMMAND_DEMO, demo_run, "[--once] [flags]",
     "show what half-close is for, in one process, with nothing to set up",
     "Starts a backend that answers only after the end of its input, the proxy in front of it, and "
     "a\n"
     "client; shows an exchange with half-close and one without. Then the proxy stays up to be "
     "tried.\n"},
    {"token", COMMAND_TOKEN, token_run, "[--append FILE] NAME",
     "make a token that lets its bearer in",
     "Makes a token of 32 random bytes and prints it, once, on standard output: that is what a "
     "client\n"
     "needs (--token-file). The server needs the line \"NAME SHA256HEX\" in its file (serve "
     "--tokens): it\n"
     "is added to --append FILE, or printed on standard error.\n"},
};

static void print_help(FILE *out)
{
    fputs("tidegate: a WebSocket-to-TCP proxy that preserves half-close\n\nusage:\n", out);
    for (size_t i = 0; i < array_count(subcommands); i++)
        fprintf(out, "  tidegate %-8s %s\n", subcommands[i].name, subcommands[i].summary);
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
          "ADDR is HOST:PORT, :PORT (loopback), [V6]:PORT or unix:PATH. URL is ws:// or "
          "wss://HOST[:PORT][/PATH].\n"
          "TIME is like 250ms, 10s, 5m, 1h.\n"
          "Each flag can be set in the environment, too: --ping-interval is "
          "TIDEGATE_PING_INTERVAL.\n",
          stdout);
}

static int start(const struct subcommand *s, struct settings *settings)
{
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
    int status = s->run(settings);
    wss_forget(dialer);
    return status;
}

static int run_subcommand(const struct subcommand *s, int argc, char **argv)
{
    struct settings *settings = options_new();
    char problem[OPTIONS_PROBLEM_MAX] = "out of memory";
    int status = EX_OK;

    enum options_result result =
        settings == NULL ? OPTIONS_BAD : options_parse(s->command, argc, argv, settings, problem);
    if (result == OPTIONS_OK) {
        status = start(s, settings);
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

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("tidegate: no subcommand given (serve, check, tunnel, stdio, probe, demo, token, "
              "version, "
              "help)\n",
              stderr);
        return EX_USAGE;
    }
    if (is_one_of(argv[1], "help", "--help", "-h")) {
        print_help(stdout);
        return EX_OK;
    }
    if (is_one_of(argv[1], "version", "--version", "-V")) {
        versions_print(stdout);
        return EX_OK;
    }
    for (size_t i = 0; i < array_count(subcommands); i++) {
        if (strcmp(argv[1], subcommands[i].name) == 0)
            return run_subcommand(&subcommands[i], argc - 2, argv + 2);
    }
    fprintf(stderr,
            "tidegate: %.100s: unknown subcommand (serve, check, tunnel, stdio, probe, demo, "
            "token, "
            "version, help)\n",
            argv[1]);
    return EX_USAGE;
}
