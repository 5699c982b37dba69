/* The messages that the servers under test speak: all do the same work, each in its own words. */
#ifndef DIALECTS_H
#define DIALECTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a text from the server is. */
enum kind { DELIVERY, ANSWER, WELCOME, HOUSEKEEPING, UNEXPECTED };

/* In a text that we send, $i is the number of the call, $c that of the channel, $m the message. */
struct dialect {
    const char *name;
    const char *path, *publisher_path;
    bool welcomes;         /* the server welcomes a client before it takes calls */
    const char *greeting;  /* what it wants to hear before, if anything */
    const char *subscribe; /* NULL: the path says it */
    const char *publish, *echo;
    const char *delivery; /* what comes of a publication: for its size */
    bool lines;           /* a frame holds several texts, one on each line */
    bool in_order;        /* answers come in order and do not name their call */

    /* Sets `id` with ANSWER, and `reply` where the text wants one at once. */
    enum kind (*read)(const char *text, size_t bytes, uint64_t *id, const char **reply);
};

#define GREETING_ID 1 /* subscriptions and calls count on from here */

extern const struct dialect *dialect;

void choose_dialect(const char *name);

/* Writes a text without a final 0; returns its length. */
size_t write_text(char *to, const char *text, uint64_t id, uint64_t channel, const char *message);

/* Writes {"seq":..,"at":..,"pad":".."}, padded so that its delivery is a frame of `frame_bytes`;
 * returns the length of the padding. */
int write_message(char *to, uint64_t seq, uint64_t at, uint64_t channel, int frame_bytes);

#endif
