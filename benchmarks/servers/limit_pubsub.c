/* The floor of this machine: pub/sub with nothing but system calls, what fanout.py measures
 * Snorky against when asked to.
 *
 * Not a server: it answers only load.c, which always sends the same handshake key, waits for
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
#define BUFFER_BYTES (256 * 1024)

static const char HANDSHAKE[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char NOTIFICATION[] =
    "{\"service\":\"pubsub\",\"message\":{\"type\":\"message\",\"channel\":\"c\",\"message\":";
static const char ANSWER[] =
    "{\"service\":\"pubsub\",\"message\":{\"type\":\"response\",\"data\":null,\"callId\":";

static int subscribers[MAX_FILES], subscriber_count;
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

static void handle(int fd, char *text, size_t bytes)
{
    static uint8_t frame[70000];
    static const char id[] = ",\"callId\":", body[] = "\"message\":{\"seq\"";
    char *call_id = memmem(text, bytes, id, strlen(id));
    if (!call_id)
        die("expected a callId");
    char *message = memmem(text, bytes, body, strlen(body));
    if (message) {
        message += strlen("\"message\":");
        size_t length = (size_t)(call_id - message) - 1; /* the brace that ends params */
        size_t frame_bytes = put_text(frame, NOTIFICATION, message, length);
        for (int i = 0; i < subscriber_count; i++)
            send_all(subscribers[i], frame, frame_bytes);
    } else {
        subscribers[subscriber_count++] = fd;
    }
    call_id += strlen(id);
    send_all(fd, frame, put_text(frame, ANSWER, call_id, strspn(call_id, "0123456789")));
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
    if (got <= 0)
        exit(0); /* the run has ended */
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
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1024) ||
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
