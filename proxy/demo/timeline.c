#include "timeline.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LANE_WIDTH 30

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static const char *colour_of(const struct timeline *t, enum timeline_mood mood)
{
    if (!t->has_colour)
        return "";
    switch (mood) {
    case MOOD_PLAIN:
        return "";
    case MOOD_END:
        return "\033[1;36m";
    case MOOD_GOOD:
        return "\033[1;32m";
    case MOOD_BAD:
        return "\033[1;31m";
    }
    return "";
}

static const char *colour_off(const struct timeline *t, enum timeline_mood mood)
{
    return t->has_colour && mood != MOOD_PLAIN ? "\033[0m" : "";
}

void timeline_init(struct timeline *t)
{
    const char *no_colour = getenv("NO_COLOR");

    *t = (struct timeline){.start_us = now_us()};
    t->has_colour = isatty(STDOUT_FILENO) && (no_colour == NULL || *no_colour == '\0');
}

void timeline_begin(struct timeline *t, const char *title, const char *subtitle)
{
    const char *bold = t->has_colour ? "\033[1m" : "", *dim = t->has_colour ? "\033[2m" : "",
               *off = t->has_colour ? "\033[0m" : "";

    printf("\n%s%s%s\n%s\n\n", bold, title, off, subtitle);
    printf("%s%8s  %-8s %-*s %s%s\n", dim, "ms", "at", LANE_WIDTH, "client --> backend",
           "client <-- backend", off);
    fflush(stdout);
    t->start_us = now_us();
}

void timeline_note(struct timeline *t, const char *side, enum timeline_lane lane,
                   enum timeline_mood mood, const char *format, ...)
{
    char what[160];
    uint64_t us = now_us() - t->start_us;
    va_list args;

    if (t->is_silent)
        return;
    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    printf("%6llu.%llu  %-8s %*s%s%s%s\n", (unsigned long long)(us / 1000),
           (unsigned long long)(us / 100 % 10), side, lane == LANE_UP ? 0 : LANE_WIDTH + 1, "",
           colour_of(t, mood), what, colour_off(t, mood));
    fflush(stdout);
}

void timeline_say(struct timeline *t, enum timeline_mood mood, const char *format, ...)
{
    va_list args;

    fputs(colour_of(t, mood), stdout);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("%s\n", colour_off(t, mood));
    fflush(stdout);
}
