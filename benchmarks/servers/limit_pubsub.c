/* The floor of this machine: pub/sub and echo with nothing but system calls.
 *
 * Not a server: it answers only load/, which always sends the same handshake key, waits for
 * its subscriptions before it publishes and reads as fast as it is written to; JSON is not
 * parsed, the message is cut out of the text. One send per message and subscriber.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_FILES 65536
#define MAX_CHANNELS 200000
#define BUFFER_BYTES (256 * 1024)

static const char HANDSHAKE[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
#define NOTIFICATION \
    "{\"service\":\"pubsub\",\"message\":{\"type\":\"message\",\"channel\":\"c%d\",\"message\":"
#define ANSWER "{\"service\":\"pubsub\",\"message\":{\"type\":\"response\",\"callId\":%d,\"data\":"

static struct {
    int *subscribers, count;
} channels[MAX_CHANNELS];
static struct {
    uint8_t *rest;
    size_t bytes;
    int open;
} peers[MAX_FILES];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void send_all(int fd, const uint8_t *data, size_t bytes)
{
    while (bytes) {
        ssize_t sent = send(fd, data, bytes, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN)
            poll(&(struct pollfd){.fd = fd, .events = POLLOUT}, 1, 1000);
        else if (sent < 0)
            return; /* gone: its end is read next */
        else
            data += sent, bytes -= (size_t)sent;
    }
}

/* Writes one frame whose text is `start`, then `middle`, then two braces. */
static size_t put_text(uint8_t *to, const char *start, const char *middle, size_t middle_bytes)
{
    size_t bytes = strlen(start) + middle_bytes + 2, header = bytes < 126 ? 2 : 4;
    to[0] = 0x81;
    to[1] = bytes < 126 ? (uint8_t)bytes : 126;
    if (header == 4)
        to[2] = (uint8_t)(bytes >> 8), to[3] = (uint8_t)bytes;
    memcpy(to + header, start, strlen(start));
    memcpy(to + header + strlen(start), middle, middle_bytes);
    memcpy(to + header + bytes - 2, "}}", 2);
    return header + bytes;
}

static const char *after(const char *key, const char *text, size_t bytes)
{
    const char *found = memmem(text, bytes, key, strlen(key));
    return found ? found + strlen(key) : NULL;
}

static void subscribe(int fd, int channel)
{
    int count = channels[channel].count++, **subscribers = &channels[channel].subscribers;
    if (!(count & (count - 1))) /* full: twice as many */
        *subscribers = realloc(*subscribers, (size_t)(count ? 2 * count : 1) * sizeof(int));
    (*subscribers)[count] = fd;
}

static void handle(int fd, const char *text, size_t bytes)
{
    static uint8_t frame[70000];
    char start[128];
    const char *call_id = after("},\"callId\":", text, bytes);
    const char *name = after("\"channel\":\"c", text, bytes);
    const char *message = after("\"message\":{\"seq\"", text, bytes);
    const char *value = after("\"value\":", text, bytes);
    int channel = name ? atoi(name) : 0;
    if (!call_id || channel >= MAX_CHANNELS)
        die("expected a call");
    size_t value_bytes = value ? (size_t)(call_id - value) - strlen("},\"callId\":") : 4;
    if (message) {
        message -= strlen("{\"seq\"");
        size_t length = (size_t)(call_id - message) - strlen("},\"callId\":");
        snprintf(start, sizeof start, NOTIFICATION, channel);
        size_t frame_bytes = put_text(frame, start, message, length);
        for (int i = 0; i < channels[channel].count; i++)
            send_all(channels[channel].subscribers[i], frame, frame_bytes);
    } else if (name) {
        subscribe(fd, channel);
    }
    snprintf(start, sizeof start, ANSWER, atoi(call_id));
    send_all(fd, frame, put_text(frame, start, value ? value : "null", value_bytes));
}

/* Returns the length of the frame at `data`, 0 while some of it has yet to come. */
static size_t take_frame(int fd, uint8_t *data, size_t bytes)
{
    size_t header = 6, length = bytes < 2 ? 0 : data[1] & 127;
    if (bytes >= 4 && length == 126)
        header = 8, length = (size_t)data[2] << 8 | data[3];
    if (bytes < header + length || (bytes < 8 && length == 126))
        return 0;
    const uint8_t *mask = data + header - 4;
    for (size_t i = 0; i < length; i++)
        data[header + i] ^= mask[i & 3];
    handle(fd, (char *)data + header, length);
    return header + length;
}

static void receive(int fd)
{
    static uint8_t buffer[2 * BUFFER_BYTES];
    size_t bytes = peers[fd].bytes, used = 0, step;
    if (bytes)
        memcpy(buffer, peers[fd].rest, bytes);
    ssize_t got = recv(fd, buffer + bytes, BUFFER_BYTES, 0);
    if (got <= 0) { /* its subscriptions stay: load publishes nothing once somebody has left */
        close(fd);
        peers[fd].open = 0, peers[fd].bytes = 0;
        return;
    }
    bytes += (size_t)got;
    if (!peers[fd].open) {
        if (!memmem(buffer, bytes, "\r\n\r\n", 4))
            die("expected a whole handshake");
        peers[fd].open = 1;
        send_all(fd, (const uint8_t *)HANDSHAKE, strlen(HANDSHAKE));
        return;
    }
    while ((step = take_frame(fd, buffer + used, bytes - used)))
        used += step;
    peers[fd].bytes = bytes - used;
    if (peers[fd].bytes) {
        peers[fd].rest = realloc(peers[fd].rest, peers[fd].bytes);
        memcpy(peers[fd].rest, buffer + used, peers[fd].bytes);
    }
}

int main(void)
{
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (getenv("PORT"))
        address.sin_port = htons((uint16_t)atoi(getenv("PORT")));
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) ||
        bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024) ||
        getsockname(listener, (struct sockaddr *)&address, &size))
        die("listen");
    int epoll_fd = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    printf("{\"port\": %d, \"versions\": {\"cc\": \"%s\"}}\n", ntohs(address.sin_port), __VERSION__);
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(epoll_fd, events, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd != listener) {
                receive(fd);
            } else if ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (fd >= MAX_FILES)
                    die("too many connections");
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                event.data.fd = fd;
                epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
            }
        }
    }
}
