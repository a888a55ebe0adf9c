#include "subcommand.h"

const struct subcommand subcommand_table[SUBCOMMAND_COUNT] = {
    [SUBCOMMAND_SERVE] =
        {
            .name = "serve",
            .command = COMMAND_SERVE,
            .usage = "[--config FILE] --listen ADDR... --backend ADDR... [flags]",
            .summary = "accept WebSocket clients, bridge each to a TCP or unix-socket backend",
            .about = "Accepts WebSocket clients and connects each to the backend. The end of one\n"
                     "direction leaves the other one open, and a failure never looks like an\n"
                     "end.\n"
                     "\n"
                     "SIGTERM and SIGINT let open connections end within the drain timeout; a\n"
                     "second one does not wait.\n",
        },
    [SUBCOMMAND_CHECK] =
        {
            .name = "check",
            .command = COMMAND_SERVE,
            .usage = "--config FILE [flags]",
            .summary = "check the configuration of serve, without serving",
            .about = "Reads what `tidegate serve` would read with the same flags and\n"
                     "environment: the configuration file, certificates, tokens. Listens nowhere\n"
                     "and connects to nothing.\n"
                     "\n"
                     "Exits with 0 if all is well; 78: something is wrong with it; 66: the file\n"
                     "cannot be read.\n",
        },
    [SUBCOMMAND_TUNNEL] =
        {
            .name = "tunnel",
            .command = COMMAND_TUNNEL,
            .usage = "--listen ADDR... [flags] URL",
            .summary =
                "accept local TCP programs, carry each over a WebSocket to a tidegate server",
            .about = "Accepts local connections and carries each over a WebSocket of its own to\n"
                     "the server at URL and the backend behind it. To the program at either end\n"
                     "it is one plain TCP connection: the end of a direction is an end, a\n"
                     "failure a reset.\n"
                     "\n"
                     "SIGTERM and SIGINT let open connections end within the drain timeout; a\n"
                     "second one does not wait.\n",
        },
    [SUBCOMMAND_STDIO] =
        {
            .name = "stdio",
            .command = COMMAND_STDIO,
            .usage = "[flags] URL",
            .summary =
                "the same for standard input and output: ssh -o ProxyCommand='tidegate stdio URL'",
            .about = "Carries standard input and output over a WebSocket to the server at URL\n"
                     "and the backend behind it. The end of input ends that direction; the other\n"
                     "one is read to its own end.\n"
                     "\n"
                     "Exits with 0 if both directions were complete; else 68: name not found,\n"
                     "69: cannot be reached, 71: system error, 74: lost or reset in mid-stream,\n"
                     "76: not the right protocol, 77: denied.\n",
        },
    [SUBCOMMAND_PROBE] =
        {
            .name = "probe",
            .command = COMMAND_PROBE,
            .usage = "[flags] URL",
            .summary = "check that a server and its backend can be reached with half-close",
            .about = "Opens one WebSocket to the server at URL, checks that half-close was\n"
                     "agreed, and ends it without a byte of data. Prints one line. Exit status\n"
                     "as of tidegate stdio: 0 if all is well.\n",
        },
    [SUBCOMMAND_DEMO] =
        {
            .name = "demo",
            .command = COMMAND_DEMO,
            .usage = "[--once] [flags]",
            .summary = "show what half-close is for, in one process, with nothing to set up",
            .about = "Starts a backend that answers only after the end of its input, the proxy\n"
                     "in front of it, and a client; shows an exchange with half-close and one\n"
                     "without. Then the proxy stays up to be tried.\n",
        },
    [SUBCOMMAND_TOKEN] =
        {
            .name = "token",
            .command = COMMAND_TOKEN,
            .usage = "[--append FILE] NAME",
            .summary = "make a token that lets its bearer in",
            .about = "Makes a token of 32 random bytes and prints it, once, on standard output:\n"
                     "that is what a client needs (--token-file). The server needs the line\n"
                     "\"NAME SHA256HEX\" in its file (serve --tokens): it is added to --append\n"
                     "FILE, or printed on standard error.\n",
        },
};
