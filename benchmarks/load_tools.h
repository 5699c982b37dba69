/* What every load generator needs: failing, clocks, latencies, client frames, values in JSON.
 *
 * Included by one C file, which defines _GNU_SOURCE. Knows no service and no socket.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000ull
#define HISTOGRAM_STEPS 64 /* a resolution of 1.6 % */

/* Prints {"error": text}, which the program that started us shows, and ends. */
__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    printf("{\"error\": \"");
    for (const char *c = text; *c; c++)
        if (*c == '"' || *c == '\\')
            printf("\\%c", *c);
        else
            putchar(*c < ' ' || *c > '~' ? '?' : *c);
    printf("\"}\n");
    exit(1);
}

static uint64_t read_clock(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time))
        fail("could not read the clock of a process: %s", strerror(errno));
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

/* Since the first call, so that JSON numbers, which are doubles, hold every time exactly. */
static uint64_t now(void)
{
    static uint64_t origin;
    if (!origin)
        origin = read_clock(CLOCK_MONOTONIC);
    return read_clock(CLOCK_MONOTONIC) - origin;
}

static uint64_t cpu_now(const pid_t *pids, int count)
{
    uint64_t sum = 0;
    for (int i = 0; i < count; i++) {
        clockid_t clock;
        if (clock_getcpuclockid(pids[i], &clock))
            fail("expected a running server, but there is no process %d", (int)pids[i]);
        sum += read_clock(clock);
    }
    return sum;
}

/* User and system time of all threads of some processes, once they have come to rest: the figures
 * of /proc/PID/stat, but in nanoseconds instead of hundredths of a second. The kernel brings the
 * clock of another, running process up to date only at its next tick, at most 10 ms away. */
static uint64_t cpu_of(const pid_t *pids, int count)
{
    const struct timespec longer_than_a_tick = {.tv_nsec = SECOND / 50};
    uint64_t cpu = cpu_now(pids, count), before;
    int tries = 50;
    do {
        before = cpu;
        nanosleep(&longer_than_a_tick, NULL);
        cpu = cpu_now(pids, count);
    } while (cpu != before && --tries);
    return cpu;
}

/* ---- latencies: a histogram with HISTOGRAM_STEPS steps to every doubling ---- */

static uint64_t latencies[64 * HISTOGRAM_STEPS];

static int bucket_of(uint64_t ns)
{
    if (ns < 2 * HISTOGRAM_STEPS)
        return (int)ns;
    int shift = 57 - __builtin_clzll(ns); /* leaves 7 bits, the top one set */
    return shift * HISTOGRAM_STEPS + (int)(ns >> shift);
}

static double latency_us(double quantile)
{
    uint64_t total = 0, seen = 0;
    for (size_t i = 0; i < sizeof latencies / sizeof *latencies; i++)
        total += latencies[i];
    uint64_t rank = (uint64_t)(quantile * (double)(total - 1)) + 1;
    int bucket = 0;
    while ((seen += latencies[bucket]) < rank)
        bucket++;
    int shift = bucket < 2 * HISTOGRAM_STEPS ? 0 : bucket / HISTOGRAM_STEPS - 1;
    return (double)((uint64_t)(bucket - shift * HISTOGRAM_STEPS) << shift) / 1e3;
}

/* ---- WebSocket ---- */

/* The key and answer that RFC 6455, section 1.3, gives as its example: no SHA-1 needed here. */
#define HANDSHAKE \
    "GET / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
#define HANDSHAKE_ANSWER "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

/* Writes one masked frame; returns its length. Needs room for 8 bytes more than the payload. */
static size_t put_frame(uint8_t *to, uint8_t opcode, const void *payload, size_t bytes)
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

/* ---- JSON: our texts end with a brace, so a number or string of `x` ends inside its text ---- */

/* What follows a key, given as `"key":`; an empty string where the key is missing. */
static const char *value_of(const char *key, const char *text, size_t bytes)
{
    const char *value = memmem(text, bytes, key, strlen(key));
    return value ? value + strlen(key) + strspn(value + strlen(key), " ") : "";
}

static uint64_t number_of(const char *key, const char *text, size_t bytes)
{
    const char *value = value_of(key, text, bytes);
    return *value >= '0' && *value <= '9' ? strtoull(value, NULL, 10) : UINT64_MAX;
}
