#define _GNU_SOURCE
#include "clients.h"
#include "tools.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES (64 * 1024)    /* small enough to be parsed while still in the cache */
#define OPENING_AT_ONCE 100       /* below every server's listen backlog */
#define CLIENTS_PER_ADDRESS 2000  /* then from the next 127.0.0.x: a free port is found soon */
#define URGENT_EVERY 16           /* events of others */

/* The key and answer that RFC 6455, section 1.3, gives as its example: no SHA-1 needed here. */
#define HANDSHAKE \
    "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
#define HANDSHAKE_ANSWER "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

struct options options;
struct workload workload;
struct client *clients, *urgent;
int client_count, ready_count;
uint64_t reads;
static int epoll_fd = -1;

void refuse(const struct client *client, const char *expected, const char *text, size_t bytes)
{
    fail("client %d: expected %s, got %.*s", client->number, expected,
         (int)(bytes < 200 ? bytes : 200), text);
}

void watch(struct client *client, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.ptr = client};
    if (epoll_ctl(epoll_fd, operation, client ? client->fd : STDIN_FILENO, &event))
        fail("epoll_ctl: %s", strerror(errno));
}

void watch_standard_input(void) { watch(NULL, EPOLLIN, EPOLL_CTL_ADD); }

/* ---- sending ---- */

size_t put_frame(uint8_t *to, uint8_t opcode, const void *payload, size_t bytes)
{
    static uint32_t mask = 2463534242;
    mask ^= mask << 13, mask ^= mask >> 17, mask ^= mask << 5;
    size_t header = 2;
    to[0] = 0x80 | opcode;
    if (bytes < 126) {
        to[1] = 0x80 | (uint8_t)bytes;
    } else {
        to[1] = 0x80 | 126, to[2] = (uint8_t)(bytes >> 8), to[3] = (uint8_t)bytes;
        header = 4;
    }
    uint8_t *key = to + header, *body = key + 4;
    memcpy(key, &mask, 4);
    for (size_t i = 0; i < bytes; i++)
        body[i] = ((const uint8_t *)payload)[i] ^ key[i & 3];
    return header + 4 + bytes;
}

static void lose(struct client *client, const char *how)
{
    if (!workload.lost)
        fail("client %d: the server dropped the connection: %s", client->number, how);
    if (client->state == READY)
        ready_count--;
    close(client->fd);
    client->state = CLOSED;
    client->rest_bytes = 0;
    client->subscribed = 0;
    workload.lost(client);
}

void send_now(struct client *client, const void *data, size_t bytes)
{
    ssize_t sent = send(client->fd, data, bytes, MSG_NOSIGNAL);
    if (sent < 0 && (errno == ECONNRESET || errno == EPIPE))
        lose(client, strerror(errno));
    else if (sent != (ssize_t)bytes)
        fail("client %d: could not send %zu bytes: %s", client->number, bytes, strerror(errno));
}

static void send_text(struct client *client, const char *text, size_t bytes)
{
    uint8_t frame[1024];
    send_now(client, frame, put_frame(frame, 1, text, bytes));
}

/* ---- connecting ---- */

void make_clients(int count)
{
    client_count = count;
    clients = calloc((size_t)count, sizeof *clients);
    uint64_t subscriptions = (uint64_t)options.subscriptions, channels = (uint64_t)options.channels;
    uint64_t *next = calloc((size_t)options.clients * subscriptions + 1, sizeof *next);
    for (int i = 0; i < count; i++) {
        struct client *client = &clients[i];
        client->number = i;
        if (i >= options.clients)
            continue;
        client->subscriptions = options.subscriptions;
        client->channel = (uint64_t)i * subscriptions % channels;
        client->next = next + (uint64_t)i * subscriptions;
        for (uint64_t j = 0; j < subscriptions; j++)
            client->next[j] = (client->channel + j) % channels;
    }
}

void open_client(struct client *client)
{
    int on = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        fail("client %d: socket: %s", client->number, strerror(errno));
    uint32_t from_host = INADDR_LOOPBACK + (uint32_t)(client->number / CLIENTS_PER_ADDRESS);
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(from_host)};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)options.port)};
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(client->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    if (bind(client->fd, (struct sockaddr *)&from, sizeof from) ||
        (connect(client->fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS))
        fail("client %d: connect: %s", client->number, strerror(errno));
    client->state = OPENING;
    watch(client, EPOLLOUT, EPOLL_CTL_ADD);
}

static void shake_hands(struct client *client)
{
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        lose(client, strerror(error));
        return;
    }
    char head[1024], path[512];
    const char *wanted = options.path ? options.path : dialect->path;
    if (client->publishes && dialect->publisher_path)
        wanted = dialect->publisher_path;
    path[write_text(path, wanted, 0, client->channel, "")] = 0;
    int bytes = snprintf(head, sizeof head, HANDSHAKE, path, options.port);
    client->state = SHAKING_HANDS;
    watch(client, EPOLLIN, EPOLL_CTL_MOD);
    send_now(client, head, (size_t)bytes);
}

static void become_ready(struct client *client)
{
    client->state = READY;
    ready_count++;
    if (workload.ready)
        workload.ready(client);
}

static void subscribe(struct client *client)
{
    char text[512];
    if (!client->subscriptions || !dialect->subscribe) {
        become_ready(client);
        return;
    }
    client->state = SUBSCRIBING;
    for (int j = 0; j < client->subscriptions && client->state == SUBSCRIBING; j++) {
        uint64_t channel = (client->channel + (uint64_t)j) % (uint64_t)options.channels;
        send_text(client, text,
                  write_text(text, dialect->subscribe, GREETING_ID + 1 + (uint64_t)j, channel, ""));
    }
}

static void take_first_answers(struct client *client, enum kind kind, uint64_t id,
                               const char *text, size_t bytes)
{
    if (client->state == WAITING_FOR_WELCOME) {
        if (kind != WELCOME && (kind != ANSWER || id != GREETING_ID))
            refuse(client, "to be welcomed", text, bytes);
        subscribe(client);
        return;
    }
    if (id < GREETING_ID + 1 || id > GREETING_ID + (uint64_t)client->subscriptions)
        refuse(client, "the answer to subscribe", text, bytes);
    if (++client->subscribed == client->subscriptions)
        become_ready(client);
}

void open_all_clients(void)
{
    uint64_t deadline = now() + (uint64_t)(options.timeout * SECOND);
    for (int opened = 0; ready_count < client_count;) {
        while (opened < client_count && opened - ready_count < OPENING_AT_ONCE)
            open_client(&clients[opened++]);
        if (now() > deadline)
            fail("after %g s %d of %d clients were connected and subscribed", options.timeout,
                 ready_count, client_count);
        serve_events(SECOND / 10);
    }
}

/* ---- receiving ---- */

static void take_text(struct client *client, const char *text, size_t bytes, uint64_t received)
{
    uint64_t id = UINT64_MAX;
    const char *reply = NULL;
    if (workload.expected && workload.expected(client, text, bytes, received))
        return;
    enum kind kind = dialect->read(text, bytes, &id, &reply);
    if (kind == DELIVERY && workload.delivery)
        workload.delivery(client, text, bytes, received);
    else if ((kind == ANSWER || kind == WELCOME) && client->state != READY)
        take_first_answers(client, kind, id, text, bytes);
    else if (kind == ANSWER && workload.answer)
        workload.answer(client, id, text, bytes, received);
    else if (kind != HOUSEKEEPING)
        refuse(client, "a delivery or an answer", text, bytes);
    if (reply)
        send_text(client, reply, strlen(reply));
}

static void take_lines(struct client *client, const char *text, size_t bytes, uint64_t received)
{
    while (bytes) {
        const char *end = memchr(text, '\n', bytes);
        size_t line = end ? (size_t)(end - text) : bytes, used = line + (end != NULL);
        if (line)
            take_text(client, text, line, received);
        text += used, bytes -= used;
    }
}

/* Returns the length of the frame at `data`, or 0 when some of it has yet to come. */
static size_t take_frame(struct client *client, const uint8_t *data, size_t bytes,
                         uint64_t received)
{
    if (bytes < 2)
        return 0;
    size_t header = 2, length = data[1];
    if (length > 126)
        fail("client %d: expected an unmasked frame below 64 KiB, got the header %02x %02x",
             client->number, data[0], data[1]);
    if (length == 126) {
        if (bytes < 4)
            return 0;
        header = 4, length = (size_t)data[2] << 8 | data[3];
    }
    if (bytes < header + length)
        return 0;
    const char *text = (const char *)data + header;
    if (data[0] == 0x81 && dialect->lines) {
        take_lines(client, text, length, received);
    } else if (data[0] == 0x81) {
        take_text(client, text, length, received);
    } else if (data[0] == 0x89) {
        uint8_t pong[8 + 125];
        send_now(client, pong, put_frame(pong, 0xa, text, length));
    } else if (data[0] == 0x88) {
        char how[32];
        snprintf(how, sizeof how, "closed with code %d",
                 length < 2 ? 1005 : (uint8_t)text[0] << 8 | (uint8_t)text[1]);
        lose(client, how);
    } else {
        fail("client %d: expected a whole text, ping or close, got the first byte %02x",
             client->number, data[0]);
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
        refuse(client, "a WebSocket handshake", (const char *)data, head);
    if (!dialect->welcomes) {
        subscribe(client);
        return head;
    }
    client->state = WAITING_FOR_WELCOME;
    if (dialect->greeting)
        send_text(client, dialect->greeting, strlen(dialect->greeting));
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
        if (got <= 0) {
            lose(client, got ? strerror(errno) : "end of stream");
            return;
        }
        reads++;
        uint64_t received = now();
        size_t bytes = client->rest_bytes + (size_t)got, used = 0, step;
        do {
            step = client->state == SHAKING_HANDS
                       ? take_handshake(client, buffer, bytes)
                       : take_frame(client, buffer + used, bytes - used, received);
            used += step;
        } while (step && used < bytes && client->state != CLOSED);
        if (client->state == CLOSED)
            return;
        client->rest_bytes = bytes - used;
        if (client->rest_bytes > MAX_FRAME)
            fail("client %d: no end of the handshake", client->number);
        if (client->rest_bytes) {
            client->rest = realloc(client->rest, client->rest_bytes);
            memcpy(client->rest, buffer + used, client->rest_bytes);
        }
        if (workload.received)
            workload.received(client);
    } while (got == READ_BYTES && client->state != CLOSED);
}

void serve_events(uint64_t wait_ns)
{
    struct epoll_event events[256];
    struct timespec wait = {(time_t)(wait_ns / SECOND), (long)(wait_ns % SECOND)};
    int count = epoll_pwait2(epoll_fd, events, 256, &wait, NULL);
    if (count < 0 && errno != EINTR)
        fail("epoll_pwait2: %s", strerror(errno));
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        if (urgent && i % URGENT_EVERY == 0)
            receive(urgent);
        if (!client)
            workload.told();
        else if (client->state == OPENING)
            shake_hands(client);
        else if (client->state != CLOSED && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            receive(client);
    }
}

__attribute__((constructor)) static void make_epoll_set(void)
{
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
}
