/* Standard input and output as one duplex: the end of input is the peer's end, finish() ends
 * output. Each may be a pipe, a file, a terminal or a socket; the same socket on both is a stream
 * (stream.h), with all that a stream can do.
 *
 *   finish  closes a pipe or a file, shuts a socket's writing side; a terminal stays open
 *   abort   what was written goes first (linger time at most). A pipe or a file has no reset: what
 *           its reader sees is an end. The exit status tells
 *   a write that fails (EPIPE: the reader is gone) is told as on_abort at once */
#ifndef TIDEGATE_STDIO_DUPLEX_H
#define TIDEGATE_STDIO_DUPLEX_H

#include "duplex.h"
#include "loop.h"
#include "stream.h"

/* Takes over `in` and `out`: they are closed in the end, with their O_NONBLOCK put back as it was
 * (it is a property of the open file, which others may share). `options` outlives the duplex. 0 and
 * `*out_duplex`, paused; or a negative errno (-EBADF: one is not open): they may be closed then. */
int stdio_duplex_open(struct loop *l, int in, int out, const struct stream_options *options,
                      struct duplex **out_duplex);

#endif
