#define _GNU_SOURCE
#include "publications.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define UNSENT_BYTES (1024 * 1024) /* publications encoded ahead of the socket */
#define CHECK_WINDOW 64

struct message {
    uint64_t at; /* published, nanoseconds since the start */
    int pad;
    bool answered;
    char *text; /* as the first subscriber received and checked it */
    size_t bytes;
};

struct client *publisher;
struct histogram delivery_latencies;
uint64_t delivered;
static uint64_t published, answered, due_deliveries;
static struct message *messages;
static uint64_t *receivers; /* of each channel */
static uint8_t unsent[UNSENT_BYTES];
static size_t unsent_start, unsent_end;

/* ---- receiving ---- */

static void count_delivery(struct client *client, int subscription, const struct message *message,
                           uint64_t received)
{
    client->next[subscription] += (uint64_t)options.channels;
    client->turn = subscription + 1 == client->subscriptions ? 0 : subscription + 1;
    delivered++;
    record(&delivery_latencies, received - message->at);
}

static bool expect_delivery(struct client *client, const char *text, size_t bytes,
                            uint64_t received)
{
    if (!client->subscriptions || client->next[client->turn] >= published)
        return false;
    const struct message *message = &messages[client->next[client->turn]];
    if (message->bytes != bytes || memcmp(message->text, text, bytes))
        return false;
    count_delivery(client, client->turn, message, received);
    return true;
}

static void take_delivery(struct client *client, const char *text, size_t bytes, uint64_t received)
{
    int number = client->number, shown = bytes < 200 ? (int)bytes : 200;
    uint64_t seq = number_of("\"seq\":", text, bytes), channels = (uint64_t)options.channels;
    uint64_t subscription = (seq % channels + channels - client->channel) % channels;
    if (seq == UINT64_MAX || seq >= published ||
        subscription >= (uint64_t)client->subscriptions)
        refuse(client, "no such delivery", text, bytes);
    if (seq != client->next[subscription])
        fail("subscriber %d: expected message %llu, got %.*s", number,
             (unsigned long long)client->next[subscription], shown, text);
    struct message *message = &messages[seq];
    const char *pad = value_of("\"pad\":", text, bytes);
    if (number_of("\"at\":", text, bytes) != message->at || *pad != '"' ||
        (int)strspn(pad + 1, "x") != message->pad || pad[message->pad + 1] != '"')
        fail("subscriber %d: message %llu was changed: %.*s", number, (unsigned long long)seq,
             shown, text);
    if (!message->text) {
        message->bytes = bytes;
        message->text = memcpy(malloc(bytes), text, bytes);
    }
    count_delivery(client, (int)subscription, message, received);
}

static void take_answer(struct client *client, uint64_t id, const char *text, size_t bytes,
                        uint64_t received)
{
    (void)received;
    uint64_t seq = dialect->in_order ? answered : id - FIRST_CALL_ID;
    if (client != publisher || seq >= published || messages[seq].answered)
        refuse(client, "no such answer", text, bytes);
    messages[seq].answered = true;
    answered++;
}

/* ---- publishing ---- */

static void publish(void)
{
    static char text[2 * MAX_FRAME], body[2 * MAX_FRAME];
    uint64_t seq = published++, channel = seq % (uint64_t)options.channels;
    struct message *message = &messages[seq];
    message->at = now();
    message->pad = write_message(body, seq, message->at, channel, options.frame_bytes);
    size_t bytes = write_text(text, dialect->publish, FIRST_CALL_ID + seq, channel, body);
    unsent_end += put_frame(unsent + unsent_end, 1, text, bytes);
    due_deliveries += receivers[channel];
}

static void flush(void)
{
    static bool waiting;
    while (unsent_start < unsent_end) {
        ssize_t sent =
            send(publisher->fd, unsent + unsent_start, unsent_end - unsent_start, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN)
            fail("publisher: %s", strerror(errno));
        if (sent < 0)
            break;
        unsent_start += (size_t)sent;
    }
    if (unsent_start == unsent_end)
        unsent_start = unsent_end = 0;
    if (waiting != (unsent_end > 0)) {
        waiting = unsent_end > 0;
        watch(publisher, waiting ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
    }
}

void prepare_publications(struct client *by, uint64_t total)
{
    publisher = by;
    publisher->publishes = true;
    messages = calloc(total, sizeof *messages);
    receivers = calloc((size_t)options.channels, sizeof *receivers);
    for (int i = 0; i < client_count; i++)
        for (int j = 0; j < clients[i].subscriptions; j++)
            receivers[(clients[i].channel + (uint64_t)j) % (uint64_t)options.channels]++;
    workload.expected = expect_delivery;
    workload.delivery = take_delivery;
    workload.answer = take_answer;
}

static void fail_unfinished(void)
{
    char where[80] = "";
    for (int i = 0; i < client_count && !*where; i++)
        for (int j = 0; j < clients[i].subscriptions && !*where; j++)
            if (clients[i].next[j] < published)
                snprintf(where, sizeof where, "; subscriber %d waits for message %llu", i,
                         (unsigned long long)clients[i].next[j]);
    fail("%g s after the last publication %llu of %llu deliveries and %llu of %llu "
         "answers had come%s", options.timeout, (unsigned long long)delivered,
         (unsigned long long)due_deliveries, (unsigned long long)answered,
         (unsigned long long)published, where);
}

static bool may_publish(uint64_t in_batch, struct pace pace)
{
    bool settled = delivered == due_deliveries && answered == published;
    return published - answered < pace.window && (!pace.lockstep || in_batch || settled) &&
           unsent_end + MAX_CLIENT_FRAME <= UNSENT_BYTES;
}

void exchange(uint64_t count, struct pace pace)
{
    uint64_t start = now(), first = published, goal = published + count;
    uint64_t patience = pace.interval + (uint64_t)(options.timeout * SECOND);
    uint64_t deadline = start + patience;
    while (published < goal || delivered < due_deliveries || answered < published) {
        uint64_t time = now(), due = start + (published - first) / pace.batch * pace.interval;
        if (time > deadline)
            fail_unfinished();
        while (published < goal && time >= due &&
               may_publish((published - first) % pace.batch, pace)) {
            publish();
            deadline = time + patience;
            due = start + (published - first) / pace.batch * pace.interval;
        }
        flush();
        bool waits_for_time = published < goal && due > time && due - time < SECOND / 10;
        serve_events(waits_for_time ? due - time : SECOND / 10);
    }
}

void check_that_nothing_more_comes(void)
{
    exchange((uint64_t)options.channels, (struct pace){.batch = 1, .window = CHECK_WINDOW});
}

size_t frame_bytes_of_last_message(void)
{
    size_t bytes = published ? messages[published - 1].bytes : 0;
    return bytes + (bytes < 126 ? 2 : 4);
}
