/* Calls of `echo`, each answered with the value it was given; the content of every answer is
 * checked. A slot is one call that is always under way. */
#ifndef ECHOES_H
#define ECHOES_H

#include "clients.h"
#include "tools.h"

struct slot {
    uint64_t id, at; /* id 0: no call is under way */
    int pad;
};

/* The frame of a call of this client in one of its slots; returns its length. */
size_t put_call(uint8_t *to, const struct client *client, struct slot *slot, uint64_t id);

/* Checks the answer and returns how long it took. */
uint64_t take_echo(const struct client *client, struct slot *slot, uint64_t id, const char *text,
                   size_t bytes, uint64_t received);

#endif
