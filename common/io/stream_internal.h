/* What the loop needs of a stream. Private to this floor. */
#ifndef TIDEGATE_STREAM_INTERNAL_H
#define TIDEGATE_STREAM_INTERNAL_H

struct stream;

/* Resets it now, without any event to its owner. Returns the next one of the loop. */
struct stream *stream_discard(struct stream *s);

#endif
