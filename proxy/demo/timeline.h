/* The demo's timeline on stdout: one line for each thing that happens, with when, at which side,
 * and in the lane of the direction it belongs to. Colours on a terminal, unless NO_COLOR is set. */
#ifndef TIDEGATE_TIMELINE_H
#define TIDEGATE_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>

enum timeline_lane { LANE_UP, LANE_DOWN }; /* client to backend, backend to client */
enum timeline_mood { MOOD_PLAIN, MOOD_END, MOOD_GOOD, MOOD_BAD };

struct timeline {
    uint64_t start_us;
    bool has_colour;
    bool is_silent; /* nothing is printed: the show is over */
};

void timeline_init(struct timeline *t);

/* A heading, the head of the table, and time zero. */
void timeline_begin(struct timeline *t, const char *title, const char *subtitle);

/* `side`: "client", "wire", "proxy" or "backend". */
void timeline_note(struct timeline *t, const char *side, enum timeline_lane lane,
                   enum timeline_mood mood, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* A line of its own, outside the table. */
void timeline_say(struct timeline *t, enum timeline_mood mood, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
