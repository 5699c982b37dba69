/* WebSocket clients of the server under test: the client's half of RFC 6455 on one epoll set.
 *
 * Knows how a client connects, is welcomed, subscribes and reads. What its messages mean is the
 * workload's. Only ever talks to 127.0.0.x.
 */
#ifndef CLIENTS_H
#define CLIENTS_H

#include "dialects.h"

#include <sys/types.h>

#define MAX_FRAME (4 + 65535) /* what a 16-bit length can announce */
#define MAX_CLIENT_FRAME (MAX_FRAME + 4)
#define FIRST_CALL_ID (GREETING_ID + 1 + 1000) /* those before are for subscriptions */

enum state { CLOSED, OPENING, SHAKING_HANDS, WAITING_FOR_WELCOME, SUBSCRIBING, READY };

struct client {
    int fd, number;
    enum state state;
    bool publishes;
    uint64_t channel;                /* the first of those it subscribes to, one after the other */
    int subscriptions, subscribed;   /* how many it wants, how many were confirmed */
    int turn;                        /* the subscription whose message is expected next */
    uint64_t *next;                  /* for each subscription: its next message */
    uint8_t *rest;                   /* the start of a frame that a read has cut */
    size_t rest_bytes;
    uint64_t retry_at, served_after; /* of storm */
};

/* What a workload does with what clients receive; any may be NULL. */
struct workload {
    void (*ready)(struct client *client);
    /* Whether the text is the delivery expected next, to the byte: spares reading it. */
    bool (*expected)(struct client *client, const char *text, size_t bytes, uint64_t received);
    void (*delivery)(struct client *client, const char *text, size_t bytes, uint64_t received);
    void (*answer)(struct client *client, uint64_t id, const char *text, size_t bytes,
                   uint64_t received);
    void (*received)(struct client *client); /* everything that a read has brought */
    void (*lost)(struct client *client);     /* the connection; NULL: that is a fault */
    void (*told)(void);                      /* there is something to read from standard input */
};

struct options {
    int port;
    const char *path; /* NULL: the dialect's */
    int clients, subscriptions, channels, frame_bytes;
    double timeout;
    pid_t pids[64];
    int pid_count;
};

extern struct options options;
extern struct workload workload;
extern struct client *clients;
extern int client_count, ready_count;
extern uint64_t reads;
/* Its socket is looked at before that of anybody else: its latency is the server's alone. */
extern struct client *urgent;

/* Makes `count` clients; the first options.clients of them subscribe. */
void make_clients(int count);
void open_client(struct client *client);
void open_all_clients(void); /* and returns when all are ready */
void serve_events(uint64_t wait_ns);
void watch(struct client *client, uint32_t events, int operation);
void watch_standard_input(void);

/* Writes one masked text frame; returns its length, at most 8 bytes more than that of the text. */
size_t put_frame(uint8_t *to, uint8_t opcode, const void *payload, size_t bytes);
/* For what is small and alone: a full socket would be a fault. */
void send_now(struct client *client, const void *data, size_t bytes);

__attribute__((noreturn)) void refuse(const struct client *client, const char *expected,
                                      const char *text, size_t bytes);

#endif
