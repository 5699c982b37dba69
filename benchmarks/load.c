/* Load generator: many WebSocket subscribers of one channel and one publisher.
 *
 * Knows the client's half of RFC 6455 and Snorky's pub/sub messages; every server under test
 * speaks the same. Starts nothing and compares nothing: fanout.py does. Only ever talks to
 * 127.0.0.x. One thread and one epoll set, so that publishing and receiving share one clock
 * and a latency is a subtraction.
 *
 * Content is checked as it arrives: every subscriber must get every message once, in order and
 * unchanged, and every publication must be answered once. The first fault ends the run.
 *
 * Prints one JSON object: the measurement, or {"error": text} with exit status 1.
 */
#define _GNU_SOURCE
#include "load_tools.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define MAX_FRAME (4 + 65535)      /* what a 16-bit length can announce */
#define READ_BYTES (64 * 1024)     /* small enough to be parsed while still in the cache */
#define UNSENT_BYTES (1024 * 1024) /* publications encoded ahead of the socket */
#define OPENING_AT_ONCE 100        /* below every server's listen backlog */
#define CLIENTS_PER_ADDRESS 20000  /* then from the next 127.0.0.x: ports are finite */
#define SUBSCRIBE_CALL_ID 1        /* publications count on from here */
#define WARM_UP_WINDOW 16

#define SUBSCRIBE \
    "{\"service\":\"pubsub\",\"message\":{\"command\":\"subscribe\"," \
    "\"params\":{\"channel\":\"c\"},\"callId\":%d}}"
#define MESSAGE "{\"seq\":%llu,\"at\":%llu,\"pad\":\"%.*s\"}"
#define PUBLISH \
    "{\"service\":\"pubsub\",\"message\":{\"command\":\"publish\"," \
    "\"params\":{\"channel\":\"c\",\"message\":" MESSAGE "},\"callId\":%llu}}"
#define NOTIFICATION \
    "{\"service\":\"pubsub\",\"message\":{\"type\":\"message\",\"channel\":\"c\",\"message\":" \
    MESSAGE "}}"

enum state { OPENING, SHAKING_HANDS, SUBSCRIBING, READY };

struct client {
    int fd;
    enum state state;
    uint64_t next; /* the message expected next */
    uint8_t *rest; /* the start of a frame that a read has cut */
    size_t rest_bytes;
};

struct message {
    uint64_t at; /* published, nanoseconds since the start */
    int pad;
    bool answered;
    uint8_t *frame; /* as the first subscriber received and checked it */
    size_t frame_bytes;
};

static struct {
    int port, subscribers, frame_bytes;
    uint64_t messages, warm_up, window;
    double rate, timeout;
    bool publisher_subscribed;
    int pid_count;
    pid_t pids[64];
} option = {.subscribers = 1000, .messages = 1000, .warm_up = 100,
            .frame_bytes = 130, .timeout = 60};

static int epoll_fd, client_count, opened, ready;
static struct client *clients, *publisher;
static struct message *messages;
static uint64_t published, learned, answered, delivered, reads;
static uint8_t unsent[UNSENT_BYTES];
static size_t unsent_start, unsent_end;
static int number_of_client(const struct client *client) { return (int)(client - clients); }

static void watch(struct client *client, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(epoll_fd, operation, client->fd, &event))
        fail("epoll_ctl: %s", strerror(errno));
}

/* ---- sending ---- */

/* Handshakes, subscriptions and pongs are small and alone: a full socket would be a fault. */
static void send_now(struct client *client, const void *data, size_t bytes)
{
    if (send(client->fd, data, bytes, MSG_NOSIGNAL) != (ssize_t)bytes)
        fail("client %d: could not send %zu bytes: %s", number_of_client(client), bytes,
             strerror(errno));
}

static void subscribe(struct client *client)
{
    char text[256];
    uint8_t frame[256 + 8];
    int bytes = snprintf(text, sizeof text, SUBSCRIBE, SUBSCRIBE_CALL_ID);
    send_now(client, frame, put_frame(frame, 1, text, (size_t)bytes));
    client->state = SUBSCRIBING;
}

/* Pads the message so that its notification, without spaces, is a frame of the wanted size. */
static void publish(void)
{
    static char text[MAX_FRAME + 1], padding[MAX_FRAME + 1];
    if (!padding[0])
        memset(padding, 'x', MAX_FRAME);
    unsigned long long seq = published, at = now();
    struct message *message = &messages[published++];
    int header = option.frame_bytes > 2 + 125 ? 4 : 2;
    int pad = option.frame_bytes - header - snprintf(NULL, 0, NOTIFICATION, seq, at, 0, "");
    message->at = at;
    message->pad = pad > 0 ? pad : 0;
    int bytes = snprintf(text, sizeof text, PUBLISH, seq, at, message->pad, padding,
                         SUBSCRIBE_CALL_ID + 1 + seq);
    unsent_end += put_frame(unsent + unsent_end, 1, text, (size_t)bytes);
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

/* ---- receiving ---- */

static void count_delivery(struct client *client, const struct message *message, uint64_t received)
{
    client->next++;
    delivered++;
    latencies[bucket_of(received - message->at)]++;
}

static void take_notification(struct client *client, const uint8_t *frame, size_t header,
                              size_t bytes, uint64_t received)
{
    const char *text = (const char *)frame + header;
    int number = number_of_client(client), shown = bytes < 200 ? (int)bytes : 200;
    if (client == publisher && !option.publisher_subscribed)
        fail("the publisher never subscribed, but got %.*s", shown, text);
    uint64_t seq = number_of("\"seq\":", text, bytes);
    if (seq != client->next || seq >= published)
        fail("subscriber %d: expected message %llu, got %.*s", number,
             (unsigned long long)client->next, shown, text);
    struct message *message = &messages[seq];
    const char *pad = value_of("\"pad\":", text, bytes);
    if (number_of("\"at\":", text, bytes) != message->at || *pad != '"' ||
        (int)strspn(pad + 1, "x") != message->pad || pad[message->pad + 1] != '"')
        fail("subscriber %d: message %llu was changed: %.*s", number, (unsigned long long)seq,
             shown, text);
    if (seq == learned) {
        message->frame_bytes = header + bytes;
        message->frame = memcpy(malloc(header + bytes), frame, header + bytes);
        learned++;
    }
    count_delivery(client, message, received);
}

static void take_answer(struct client *client, const char *text, size_t bytes)
{
    int number = number_of_client(client), shown = bytes < 200 ? (int)bytes : 200;
    uint64_t call_id = number_of("\"callId\":", text, bytes);
    if (client->state == SUBSCRIBING) {
        if (call_id != SUBSCRIBE_CALL_ID)
            fail("client %d: expected the answer to subscribe, got %.*s", number, shown, text);
        client->state = READY;
        ready++;
        return;
    }
    uint64_t seq = call_id - SUBSCRIBE_CALL_ID - 1;
    if (client != publisher || seq >= published || messages[seq].answered)
        fail("client %d: expected no such answer: %.*s", number, shown, text);
    messages[seq].answered = true;
    answered++;
}

/* Returns the length of the frame at `data`, or 0 when some of it has yet to come. */
static size_t take_frame(struct client *client, const uint8_t *data, size_t bytes,
                         uint64_t received)
{
    if (client->next < learned) { /* nearly always: equal to what was checked before */
        const struct message *message = &messages[client->next];
        if (bytes >= message->frame_bytes &&
            !memcmp(data, message->frame, message->frame_bytes) &&
            (client != publisher || option.publisher_subscribed)) {
            count_delivery(client, message, received);
            return message->frame_bytes;
        }
    }
    int number = number_of_client(client);
    if (bytes < 2)
        return 0;
    size_t header = 2, length = data[1];
    if (length > 126)
        fail("client %d: expected an unmasked frame below 64 KiB, got the header %02x %02x",
             number, data[0], data[1]);
    if (length == 126) {
        if (bytes < 4)
            return 0;
        header = 4, length = (size_t)data[2] << 8 | data[3];
    }
    if (bytes < header + length)
        return 0;
    const char *text = (const char *)data + header;
    if (data[0] == 0x81) {
        const char *type = value_of("\"type\":", text, length);
        if (!strncmp(type, "\"message\"", 9))
            take_notification(client, data, header, length, received);
        else if (!strncmp(type, "\"response\"", 10))
            take_answer(client, text, length);
        else
            fail("client %d: expected a message or a response, got %.*s", number, (int)length,
                 text);
    } else if (data[0] == 0x89) {
        uint8_t pong[8 + 125];
        send_now(client, pong, put_frame(pong, 0xa, text, length));
    } else if (data[0] == 0x88) {
        fail("client %d: closed by the server with code %d", number,
             length < 2 ? 1005 : (uint8_t)text[0] << 8 | (uint8_t)text[1]);
    } else {
        fail("client %d: expected a whole text, ping or close, got the first byte %02x", number,
             data[0]);
    }
    return header + length;
}

static size_t take_handshake(struct client *client, const uint8_t *data, size_t bytes)
{
    const uint8_t *end = memmem(data, bytes, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t head = (size_t)(end - data) + 4;
    if (strncmp((const char *)data, "HTTP/1.1 101", 12) ||
        !memmem(data, head, HANDSHAKE_ANSWER, strlen(HANDSHAKE_ANSWER)))
        fail("client %d: expected a WebSocket handshake, got %.*s", number_of_client(client),
             (int)(head < 200 ? head : 200), (const char *)data);
    if (client == publisher && !option.publisher_subscribed) {
        client->state = READY;
        ready++;
    } else {
        subscribe(client);
    }
    return head;
}

static void receive(struct client *client)
{
    static uint8_t buffer[MAX_FRAME + READ_BYTES + 1]; /* and a last 0, which is never written */
    ssize_t got;
    do {
        if (client->rest_bytes)
            memcpy(buffer, client->rest, client->rest_bytes);
        got = recv(client->fd, buffer + client->rest_bytes, READ_BYTES, 0);
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0)
            fail("client %d: the server dropped the connection: %s", number_of_client(client),
                 got ? strerror(errno) : "end of stream");
        reads++;
        uint64_t received = now();
        size_t bytes = client->rest_bytes + (size_t)got, used = 0, step;
        do {
            step = client->state == SHAKING_HANDS
                       ? take_handshake(client, buffer, bytes)
                       : take_frame(client, buffer + used, bytes - used, received);
            used += step;
        } while (step && used < bytes);
        client->rest_bytes = bytes - used;
        if (client->rest_bytes > MAX_FRAME)
            fail("client %d: no end of the handshake", number_of_client(client));
        if (client->rest_bytes) {
            client->rest = realloc(client->rest, client->rest_bytes);
            memcpy(client->rest, buffer + used, client->rest_bytes);
        }
    } while (got == READ_BYTES);
}

/* ---- the run ---- */

static void open_client(struct client *client)
{
    int on = 1, number = number_of_client(client);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        fail("client %d: socket: %s", number, strerror(errno));
    struct sockaddr_in from = {.sin_family = AF_INET}, to = from;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(number / CLIENTS_PER_ADDRESS));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)option.port);
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(client->fd, (struct sockaddr *)&from, sizeof from) ||
        (connect(client->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS))
        fail("client %d: connect: %s", number, strerror(errno));
    watch(client, EPOLLOUT, EPOLL_CTL_ADD);
}

static void shake_hands(struct client *client)
{
    char head[1024];
    int bytes = snprintf(head, sizeof head, HANDSHAKE, option.port);
    send_now(client, head, (size_t)bytes);
    client->state = SHAKING_HANDS;
    watch(client, EPOLLIN, EPOLL_CTL_MOD);
}

static void serve_events(uint64_t wait_ns)
{
    struct epoll_event events[256];
    struct timespec wait = {(time_t)(wait_ns / SECOND), (long)(wait_ns % SECOND)};
    int count = epoll_pwait2(epoll_fd, events, 256, &wait, NULL);
    if (count < 0 && errno != EINTR)
        fail("epoll_pwait2: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        if (client->state == OPENING)
            shake_hands(client);
        else if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            receive(client);
    }
}

static void open_clients(void)
{
    uint64_t deadline = now() + (uint64_t)(option.timeout * SECOND);
    while (ready < client_count) {
        while (opened < client_count && opened - ready < OPENING_AT_ONCE)
            open_client(&clients[opened++]);
        if (now() > deadline)
            fail("after %g s %d of %d clients were connected and subscribed", option.timeout,
                 ready, client_count);
        serve_events(SECOND / 10);
    }
}

static void fail_unfinished(uint64_t goal)
{
    char where[64] = "";
    for (int i = 0; i < option.subscribers && !*where; i++)
        if (clients[i].next < goal)
            snprintf(where, sizeof where, "; subscriber %d waits for message %llu", i,
                     (unsigned long long)clients[i].next);
    fail("%g s after the last publication was due, %llu of %llu deliveries and %llu of %llu "
         "answers had come%s", option.timeout, (unsigned long long)delivered,
         (unsigned long long)goal * (unsigned)option.subscribers, (unsigned long long)answered,
         (unsigned long long)goal, where);
}

/* Publishes `count` messages and returns when all have been delivered and answered.
 * window: the most publications without an answer; interval: nanoseconds between two. */
static void exchange(uint64_t count, uint64_t window, uint64_t interval)
{
    uint64_t start = now(), first = published, goal = published + count;
    uint64_t deadline = start + count * interval + (uint64_t)(option.timeout * SECOND);
    while (delivered < goal * (uint64_t)option.subscribers || answered < goal) {
        uint64_t time = now(), due = start + (published - first) * interval;
        if (time > deadline)
            fail_unfinished(goal);
        while (published < goal && time >= due && published - answered < window &&
               unsent_end + MAX_FRAME + 8 <= UNSENT_BYTES) {
            publish();
            due += interval;
        }
        flush();
        serve_events(published < goal && due > time && due - time < SECOND / 10 ? due - time
                                                                                : SECOND / 10);
    }
}

static void measure(void)
{
    uint64_t deliveries = option.messages * (uint64_t)option.subscribers;
    memset(latencies, 0, sizeof latencies);
    reads = 0;
    uint64_t cpu = cpu_of(option.pids, option.pid_count);
    uint64_t own = read_clock(CLOCK_PROCESS_CPUTIME_ID), start = now();
    exchange(option.messages, option.window ? option.window : UINT64_MAX,
             option.rate > 0 ? (uint64_t)(SECOND / option.rate) : 0);
    double seconds = (double)(now() - start) / SECOND;
    double share = (double)(read_clock(CLOCK_PROCESS_CPUTIME_ID) - own) / SECOND / seconds;
    double server = (double)(cpu_of(option.pids, option.pid_count) - cpu) / SECOND;
    uint64_t read_count = reads;
    double p50 = latency_us(.5), p99 = latency_us(.99), worst = latency_us(1);
    size_t frame_bytes = messages[published - 1].frame_bytes;
    /* A repeated or late message would come before this one, and be noticed. */
    exchange(1, 1, 0);
    printf("{\"deliveries\": %llu, \"seconds\": %.6f, \"deliveries_per_second\": %.0f, "
           "\"server_cpu_seconds\": %.6f, \"server_cpu_share\": %.4f, "
           "\"generator_cpu_share\": %.4f, \"throughput_is_floor\": %s, "
           "\"latency_us\": {\"p50\": %.1f, \"p99\": %.1f, \"max\": %.1f}, "
           "\"frame_bytes\": %zu, \"deliveries_per_read\": %.2f, \"errors\": 0}\n",
           (unsigned long long)deliveries, seconds, (double)deliveries / seconds, server,
           server / seconds, share, share > .9 ? "true" : "false", p50, p99, worst, frame_bytes,
           (double)deliveries / (double)read_count);
}

static void parse_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", 1, 0, 'p'},     {"subscribers", 1, 0, 'n'}, {"messages", 1, 0, 'm'},
        {"warm-up", 1, 0, 'w'},  {"window", 1, 0, 'i'},      {"rate", 1, 0, 'r'},
        {"timeout", 1, 0, 't'},  {"frame-bytes", 1, 0, 'b'}, {"publisher-subscribed", 0, 0, 's'},
        {"pid", 1, 0, 'c'},      {0, 0, 0, 0}};
    int name;
    while ((name = getopt_long(argc, argv, "", names, NULL)) != -1)
        switch (name) {
        case 'p': option.port = atoi(optarg); break;
        case 'n': option.subscribers = atoi(optarg); break;
        case 'm': option.messages = strtoull(optarg, NULL, 10); break;
        case 'w': option.warm_up = strtoull(optarg, NULL, 10); break;
        case 'i': option.window = strtoull(optarg, NULL, 10); break;
        case 'r': option.rate = atof(optarg); break;
        case 'b': option.frame_bytes = atoi(optarg); break;
        case 't': option.timeout = atof(optarg); break;
        case 's': option.publisher_subscribed = true; break;
        case 'c':
            if (option.pid_count == sizeof option.pids / sizeof *option.pids)
                fail("too many --pid");
            option.pids[option.pid_count++] = atoi(optarg);
            break;
        default: fail("unknown option; see parse_options in load.c");
        }
    if (option.port < 1 || option.port > 65535 || option.subscribers < 1 || !option.messages ||
        option.frame_bytes > 60000 || option.timeout <= 0)
        fail("expected --port N and sensible values of the other options");
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);
    client_count = option.subscribers + !option.publisher_subscribed;
    clients = calloc((size_t)client_count, sizeof *clients);
    messages = calloc(option.warm_up + option.messages + 1, sizeof *messages);
    publisher = &clients[client_count - 1];
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    open_clients();
    if (option.warm_up)
        exchange(option.warm_up, WARM_UP_WINDOW, 0);
    measure();
    return 0;
}
