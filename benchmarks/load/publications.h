/* Publishing, and the check of what arrives: every subscriber must get every message of its
 * channels once, in order and unchanged, and every publication must be answered once. The first
 * fault ends the run. Message n goes to channel n modulo the number of channels. */
#ifndef PUBLICATIONS_H
#define PUBLICATIONS_H

#include "clients.h"
#include "tools.h"

struct pace {
    uint64_t batch;    /* messages published at once */
    uint64_t interval; /* nanoseconds between two batches */
    uint64_t window;   /* the most publications without an answer */
    bool lockstep;     /* a batch waits until all before it were delivered and answered */
};

extern struct client *publisher;
extern struct histogram delivery_latencies;
extern uint64_t delivered;

/* Room for `total` messages; sets the workload's functions for deliveries and answers. */
void prepare_publications(struct client *by, uint64_t total);

/* Publishes `count` messages and returns when all have been delivered and answered. */
void exchange(uint64_t count, struct pace pace);

/* One more message on every channel: a repeated or late one would come before it. */
void check_that_nothing_more_comes(void);

size_t frame_bytes_of_last_message(void);

#endif
