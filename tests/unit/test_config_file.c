/* The configuration file: what is taken, and where what is wrong is said to be. */
#include "config_file.h"
#include "option_print.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char path[] = "/tmp/tidegate-config-XXXXXX";
static struct settings settings;
static char problem[OPTIONS_PROBLEM_MAX];

static int make_file(void **state)
{
    int fd = mkstemp(path);

    (void)state;
    if (fd < 0)
        return -1;
    return close(fd);
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static int forget(void **state)
{
    (void)state;
    options_forget(&settings);
    return 0;
}

static void write_file(const char *text, size_t len)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* With the file, and with `more` flags, which a NULL ends. */
static enum options_result parse(const char *const *more)
{
    static char *argv[16];
    int argc = 2;

    argv[0] = (char *)(uintptr_t) "--config";
    argv[1] = path;
    for (; *more != NULL; more++)
        argv[argc++] = (char *)(uintptr_t)*more;
    options_forget(&settings);
    problem[0] = '\0';
    return options_parse(COMMAND_SERVE, argc, argv, &settings, problem);
}

static const char *const no_flags[] = {NULL};

static void parse_good(const char *text, const char *const *more)
{
    write_file(text, strlen(text));
    if (parse(more) != OPTIONS_OK)
        fail_msg("%s", problem);
}

/* ---- what is wrong ---- */

static void test_mistakes_have_a_place(void **state)
{
    static const struct {
        const char *text, *says; /* behind the path */
    } cases[] = {
        {"", ":1:1: the file is empty"},
        {"# nothing\n", ":2:1: the file is empty"},
        {"- a\n", ":1:1: must be keys and values (KEY: VALUE)"},
        {"listen\n", ":1:1: must be keys and values (KEY: VALUE)"},
        {"listen: :1\nidle-timout: 3s\n",
         ":2:1: idle-timout: unknown key (did you mean idle-timeout?)"},
        {"listen: :1\nroute: []\n", ":2:1: route: unknown key (did you mean routes?)"},
        {"zzz: 1\n", ":1:1: zzz: unknown key"},
        {"? [a]\n: b\n", ":1:3: a key is a word"},
        {"'': b\n", ":1:1: \"\": unknown key"},
        {"config: x\n", ":1:1: config: cannot be set in a file"},
        {"print-config: true\n", ":1:1: print-config: cannot be set in a file"},
        {"listen: :1\nlinger: 1s\nlisten: :2\n",
         ":3:1: listen: is here for a second time: it is in line 1"},
        {"idle-timeout:   3\n",
         ":1:17: idle-timeout: \"3\": must be a time like 250ms, 10s, 5m, 1h"},
        {"idle-timeout: [3s]\n", ":1:15: idle-timeout: takes one value, not a list"},
        {"idle-timeout: {a: b}\n", ":1:15: idle-timeout: takes a value, not keys"},
        {"idle-timeout:\n", ":1:14: idle-timeout: has no value"},
        {"idle-timeout: ~\n", ":1:15: idle-timeout: has no value"},
        {"tls-cert: null\n", ":1:11: tls-cert: has no value"},
        {"tls-cert: ''\n", ":1:11: tls-cert: \"\": is empty"},
        {"backend-ca: |\n  a\n  b\n", ":1:13: backend-ca: has a control character or a line break"},
        {"backend-ca: \"a\\0b\"\n", ":1:13: backend-ca: has a control character or a line break"},
        {"backend-insecure: yes\n", ":1:19: backend-insecure: \"yes\": must be true or false"},
        {"log-level: loud\n", ":1:12: log-level: \"loud\" is not one of debug|info|warn|error"},
        {"listen:\n  - :1\n  - {a: b}\n", ":3:5: listen: takes a list of values"},
        {"listen:\n  - :1\n  - nowhere\n",
         ":3:5: listen: \"nowhere\": port is missing (HOST:PORT, :PORT, [V6]:PORT, "
         "unix:PATH or systemd:NAME)"},
        {"listen: &a :1\n", ":1:9: listen: anchors and aliases (&, *) are not taken"},
        {"listen: *a\n", ":1:9: listen: anchors and aliases (&, *) are not taken"},
        {"a: &a [x, x]\nb: &b [*a, *a]\n", ":1:1: a: unknown key"},
        {"listen: !!str :1\n", ":1:9: listen: tags (!) are not taken"},
        {"listen: :1\n---\nlinger: 1s\n", ":2:1: a second document"},
        {"listen:\n\t- :1\n", ":2:1: not YAML: found character that cannot start any token while "
                              "scanning for the next token (a tab is no indentation)"},
        {"listen: \"\n",
         ":2:1: not YAML: found unexpected end of stream while scanning a quoted scalar"},
        {"listen: :1\nlinger: \001\n", ":2:9: not YAML: control characters are not allowed"},
        {"listen: :1\nlinger: \xff\n", ":2: is not UTF-8"},
        {"linger: 1s\n# \xc3", ":2: is not UTF-8"},
        {"routes: [[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]\n", ":1:25: routes: too deep"},
        {"routes: []\n", ":1:10: routes: the list is empty"},
        {"routes: :1\n", ":1:9: routes: takes a list, each with a name and other keys"},
        {"routes: {name: a}\n", ":1:9: routes: takes a list, each with a name and other keys"},
        {"routes: [a]\n", ":1:10: routes: takes a list, each with a name and other keys"},
        {"routes: [{name: a}]\nroutes: [{name: b}]\n", ":2:1: routes: is here for a second time"},
        {"routes:\n  - name: a\n    idle-timeot: 1s\n",
         ":3:5: idle-timeot: unknown key (did you mean idle-timeout?)"},
        {"routes:\n  - nam: a\n", ":2:5: nam: unknown key (did you mean name?)"},
        {"routes:\n  - name: a\n    listen: :1\n", ":3:5: listen: cannot be set for one route"},
        {"routes:\n  - host: a\n", ":2:1: routes: this one has no name"},
        {"routes:\n  - name: a\n    name: b\n", ":3:5: name: is here for a second time"},
        {"routes:\n  - name: a\n    linger: 1s\n", ":3:5: linger: cannot be set for one route"},
        {"routes:\n  - name: a\n    idle-timeout: 1s\n    idle-timeout: 2s\n",
         ":4:5: idle-timeout: is here for a second time: it is in line 3"},
        {"routes:\n  - name: a b\n",
         ":2:11: name: \"a b\": must be 1 to 64 letters, digits, '-', '_' or '.'"},
        {"routes:\n  - name: a\n    host: [b, c]\n", ":3:11: host: takes one value"},
        {"routes:\n  - name: a\n    host: 'b:80'\n",
         ":3:11: host: \"b:80\": is no host (a name, a number, or *.SUFFIX; without a port)"},
        {"routes:\n  - name: a\n    path: b\n",
         ":3:11: path: \"b\": the path does not begin with a slash"},
        {"routes:\n  - name: a\n  - name: a\n    path: /b\n",
         ":3:1: routes: \"a\": the route in line 2 has the same name"},
        {"routes:\n  - name: a\n    host: b\n  - name: c\n    host: B.\n",
         ":4:1: routes: \"c\": \"a\" in line 2 has the same host and path"},
        {"routes:\n  - name: a\n", ":2: backend: missing in the route \"a\""},
        {"backend: []\nroutes:\n  - name: a\n    path: /a\n    backend: :1\n  - name: b\n",
         ":6: backend: missing in the route \"b\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static const char *const flags[] = {"--listen", ":0", NULL};
        write_file(cases[i].text, strlen(cases[i].text));
        if (parse(flags) != OPTIONS_BAD_FILE)
            fail_msg("taken: %s", cases[i].text);
        assert_memory_equal(problem, path, strlen(path));
        assert_string_equal(problem + strlen(path), cases[i].says);
    }
}

static void test_files_that_are_none(void **state)
{
    static char big[CONFIG_FILE_MAX + 1];
    char *nowhere[] = {(char *)(uintptr_t) "--config", (char *)(uintptr_t) "/nowhere"};
    char *folder[] = {(char *)(uintptr_t) "--config", (char *)(uintptr_t) "/tmp"};

    (void)state;
    memset(big, '#', sizeof(big));
    write_file(big, sizeof(big));
    assert_int_equal(parse(no_flags), OPTIONS_BAD_FILE);
    assert_non_null(strstr(problem, ": is larger than 1048576 bytes"));
    write_file(big, sizeof(big) - 1); /* one comment */
    assert_int_equal(parse(no_flags), OPTIONS_BAD_FILE);
    assert_non_null(strstr(problem, ": the file is empty"));
    options_forget(&settings);
    assert_int_equal(options_parse(COMMAND_SERVE, 2, nowhere, &settings, problem), OPTIONS_NO_FILE);
    assert_string_equal(problem, "/nowhere: cannot be read: No such file or directory");
    options_forget(&settings);
    assert_int_equal(options_parse(COMMAND_SERVE, 2, folder, &settings, problem), OPTIONS_NO_FILE);
    assert_string_equal(problem, "/tmp: cannot be read: Is a directory");
}

static void test_what_is_missing(void **state)
{
    static const char text[] = "listen: []\nbackend: :9\n";

    (void)state;
    write_file(text, strlen(text));
    assert_int_equal(parse(no_flags), OPTIONS_BAD_FILE);
    assert_non_null(strstr(problem, "--listen ADDR: missing"));
    write_file("listen: :1\n", 11);
    assert_int_equal(parse(no_flags), OPTIONS_BAD_FILE);
    assert_non_null(strstr(problem, "--backend ADDR: missing"));
}

/* ---- what is taken ---- */

static void test_kinds_of_values(void **state)
{
    (void)state;
    parse_good("listen: [127.0.0.1:1, ':2']\n"
               "backend:\n  - tls://a:1\n  - \"unix:/b\"\n"
               "tls-cert: [a.pem, 'b c.pem']\ntls-key: a.key,b.key\n"
               "backend-insecure: true\nidle-timeout: 10m\nmax-connections: 7\n"
               "backend-tls-finish: notify\nlog-format: json\n",
               no_flags);
    const struct route_settings *r = &settings.server.defaults;
    assert_int_equal(settings.service.listen.count, 2);
    assert_int_equal(settings.service.listen.items[1].address.port, 2);
    assert_int_equal(r->backends.count, 2);
    assert_true(r->backends.items[0].is_tls);
    assert_int_equal(r->backends.items[1].address.kind, ADDRESS_UNIX);
    assert_int_equal(settings.server.tls.pair_count, 2);
    assert_string_equal(settings.server.tls.pairs[1].cert_file, "b c.pem");
    assert_string_equal(settings.server.tls.pairs[1].key_file, "b.key");
    assert_true(r->backend_tls.is_insecure);
    assert_int_equal(r->relay.idle_ms, 600000);
    assert_int_equal(r->backend_tls_finish, BACKEND_TLS_NOTIFY);
    assert_int_equal(settings.service.max_connections, 7);
    assert_int_equal(settings.log_format, 1);
}

static void test_who_wins(void **state)
{
    static const char *const flags[] = {"--idle-timeout", "4s", "--backend", ":4", NULL};

    (void)state;
    assert_int_equal(setenv("TIDEGATE_IDLE_TIMEOUT", "3s", 1), 0);
    assert_int_equal(setenv("TIDEGATE_LINGER", "3s", 1), 0);
    parse_good(
        "listen: :1\nidle-timeout: 2s\nlinger: 2s\nping-interval: 2s\nbackend: [':2', ':3']\n",
        flags);
    assert_int_equal(unsetenv("TIDEGATE_IDLE_TIMEOUT"), 0);
    assert_int_equal(unsetenv("TIDEGATE_LINGER"), 0);
    const struct route_settings *r = &settings.server.defaults;
    assert_int_equal(r->relay.idle_ms, 4000);
    assert_int_equal(settings.service.stream.linger_ms, 3000);
    assert_int_equal(r->ws.ping_interval_ms, 2000);
    assert_int_equal(r->ws.ping_timeout_ms, 20000);
    assert_int_equal(r->backends.count, 1); /* replaced, not added */
    assert_int_equal(r->backends.items[0].address.port, 4);
    assert_int_equal(r->ws.linger_ms, 3000);
}

static void test_routes_start_from_the_top_level(void **state)
{
    static const char *const flags[] = {"--ping-interval", "9s", NULL};

    (void)state;
    parse_good(
        "listen: :1\n"
        "routes:\n"
        "  - name: a\n    host: DB.Example.org.\n    path: /db/*\n    backend: [':5', ':6']\n"
        "  - name: b\n    idle-timeout: 1s\n    ping-interval: 2s\n"
        "backend: :9\nidle-timeout: 2s\nhalf-closed-timeout: 7s\n",
        flags);
    assert_int_equal(settings.server.route_count, 2);
    const struct route_entry *a = &settings.server.routes[0], *b = &settings.server.routes[1];
    assert_string_equal(a->name, "a");
    assert_string_equal(a->host, "db.example.org");
    assert_string_equal(a->path, "/db/*");
    assert_int_equal(a->line, 3);
    assert_int_equal(a->settings.backends.count, 2);
    assert_int_equal(a->settings.relay.idle_ms, 2000);
    assert_int_equal(a->settings.ws.ping_interval_ms, 9000);
    assert_null(b->host);
    assert_null(b->path);
    assert_int_equal(b->settings.backends.count, 1);
    assert_int_equal(b->settings.relay.idle_ms, 1000);
    assert_int_equal(b->settings.ws.ping_interval_ms, 2000); /* its own goes before a flag */
    assert_int_equal(b->settings.ws.stall_ms, 7000);
    assert_int_equal(settings.server.defaults.backends.count, 1);
}

static char *printed(void)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    assert_non_null(f);
    option_print(COMMAND_SERVE, &settings, f);
    assert_int_equal(fclose(f), 0);
    return text;
}

/* Without comments. */
static void strip(char *text)
{
    char *to = text;

    for (char *from = text; *from != '\0';) {
        size_t len = strcspn(from, "\n");
        char *comment = strstr(from, "  # ");
        bool is_in_line = comment != NULL && comment < from + len;
        if (*from != '#') {
            size_t keep = is_in_line ? (size_t)(comment - from) : len;
            memmove(to, from, keep);
            to += keep;
            *to++ = '\n';
        }
        from += len + (from[len] == '\n');
    }
    *to = '\0';
}

static void test_what_is_printed_can_be_read(void **state)
{
    static const char *const flags[] = {"--ping-interval", "9s", NULL};

    (void)state;
    assert_int_equal(setenv("TIDEGATE_LINGER", "3s", 1), 0);
    parse_good("listen: [127.0.0.1:1, '[::1]:2']\n"
               "tls-cert: \"a \\\"b\\\" \\\\ # c.pem\"\ntls-key: 'k: v'\n"
               "routes:\n  - name: a\n    host: '*.x'\n    backend: tls://b:1\n"
               "    backend-insecure: true\n  - name: b\n    backend: [':1', unix:/c]\n",
               flags);
    assert_int_equal(unsetenv("TIDEGATE_LINGER"), 0);
    char *once = printed();
    assert_non_null(strstr(once, "\nping-interval: 9s  # flag --ping-interval\n"));
    assert_non_null(strstr(once, "\nlinger: 3s  # environment TIDEGATE_LINGER\n"));
    assert_non_null(strstr(once, "\n# idle-timeout: 0  # default\n"));
    assert_non_null(strstr(once, "\n# max-connections:  not set\n"));
    char where[128];
    (void)snprintf(where, sizeof(where), "\ntls-key: [\"k: v\"]  # %s:3\n", path);
    assert_non_null(strstr(once, where));
    (void)snprintf(where, sizeof(where), "    backend-insecure: true  # %s:8\n", path);
    assert_non_null(strstr(once, where));

    write_file(once, strlen(once));
    if (parse(no_flags) != OPTIONS_OK)
        fail_msg("%s", problem);
    assert_string_equal(settings.server.tls.pairs[0].cert_file, "a \"b\" \\ # c.pem");
    char *twice = printed();
    strip(once);
    strip(twice);
    assert_string_equal(once, twice);
    free(once);
    free(twice);
}

static void test_many_routes(void **state)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);

    (void)state;
    assert_non_null(f);
    fputs("listen: :1\nbackend: :2\nroutes:\n", f);
    for (unsigned i = 0; i < CONFIG_ROUTES_MAX; i++)
        fprintf(f, "  - {name: r%u, path: /%u}\n", i, i);
    assert_int_equal(fflush(f), 0);
    parse_good(text, no_flags);
    assert_int_equal(settings.server.route_count, CONFIG_ROUTES_MAX);
    assert_string_equal(settings.server.routes[CONFIG_ROUTES_MAX - 1].path, "/999");
    fputs("  - {name: more, path: /more}\n", f);
    assert_int_equal(fclose(f), 0);
    write_file(text, len);
    assert_int_equal(parse(no_flags), OPTIONS_BAD_FILE);
    assert_non_null(strstr(problem, ":1004:5: routes: more than 1000"));
    free(text);
}

/* What systemd hands over, for any file. */
static void test_credentials(void **state)
{
    (void)state;
    static const char text[] = "listen: :1\nbackend: :2\ntls-cert: [credential:cert.pem, b.pem]\n"
                               "tls-key: [credential:key.pem, credential:b]\n"
                               "tokens: credential:tokens\nbackend-server-name: credential:x\n";
    static const char *const bad[] = {"credential:", "credential:..", "credential:.",
                                      "credential:a/b", "credential:/etc/passwd"};
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "/run/credentials/x", 1), 0);
    parse_good(text, no_flags);
    assert_string_equal(settings.tls_certs.items[0], "/run/credentials/x/cert.pem");
    assert_string_equal(settings.tls_certs.items[1], "b.pem");
    assert_string_equal(settings.tls_keys.items[0], "/run/credentials/x/key.pem");
    assert_string_equal(settings.tls_keys.items[1], "/run/credentials/x/b");
    assert_string_equal(settings.server.defaults.tokens, "/run/credentials/x/tokens");
    assert_string_equal(settings.server.defaults.backend_tls.server_name, "credential:x");
    char argument[64];
    snprintf(argument, sizeof(argument), "credential:%s", path + strlen("/tmp/"));
    assert_int_equal(setenv("CREDENTIALS_DIRECTORY", "/tmp", 1), 0);
    parse_good(text, (const char *const[]){"--config", argument, NULL});
    assert_string_equal(settings.config_file, path);
    for (size_t i = 0; i < array_count(bad); i++) {
        assert_int_equal(parse((const char *const[]){"--tokens", bad[i], NULL}), OPTIONS_BAD);
        assert_non_null(strstr(problem, "needs the name of one, without '/'"));
    }
    for (int is_empty = 0; is_empty <= 1; is_empty++) {
        if (is_empty)
            setenv("CREDENTIALS_DIRECTORY", "", 1);
        else
            unsetenv("CREDENTIALS_DIRECTORY");
        assert_int_equal(parse(no_flags), OPTIONS_BAD_FILE);
        assert_non_null(strstr(problem, "CREDENTIALS_DIRECTORY is not set"));
    }
    unsetenv("CREDENTIALS_DIRECTORY");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_mistakes_have_a_place, forget),
        cmocka_unit_test_teardown(test_files_that_are_none, forget),
        cmocka_unit_test_teardown(test_what_is_missing, forget),
        cmocka_unit_test_teardown(test_kinds_of_values, forget),
        cmocka_unit_test_teardown(test_who_wins, forget),
        cmocka_unit_test_teardown(test_routes_start_from_the_top_level, forget),
        cmocka_unit_test_teardown(test_what_is_printed_can_be_read, forget),
        cmocka_unit_test_teardown(test_many_routes, forget),
        cmocka_unit_test_teardown(test_credentials, forget),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
