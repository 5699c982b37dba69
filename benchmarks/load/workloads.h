/* What can be done to a server. Each prints one JSON object at its end. */
#ifndef WORKLOADS_H
#define WORKLOADS_H

#include "clients.h"
#include "publications.h"

struct workload_options {
    uint64_t messages, warm_up;
    struct pace pace;
    bool publisher_subscribed, bystander;
    int outstanding;
    double seconds;
    const char *texts; /* a file: what each client says to subscribe, line by line */
};

void run_fanout(const struct workload_options *wanted);
void run_calls(const struct workload_options *wanted);
void run_hold(const struct workload_options *wanted);
void run_storm(const struct workload_options *wanted);
void run_listen(const struct workload_options *wanted);

/* Time and CPU time between two moments. The server comes to rest before each. */
struct stretch {
    uint64_t start, own, server;
    double seconds, server_seconds, own_share;
};

struct stretch begin(void);
void end(struct stretch *stretch);
void print_stretch(const struct stretch *stretch); /* JSON members, and a comma */

#endif
