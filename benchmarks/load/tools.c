#define _GNU_SOURCE
#include "tools.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void fail(const char *format, ...)
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

/* ---- clocks ---- */

uint64_t read_clock(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time))
        fail("could not read the clock of a process: %s", strerror(errno));
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

uint64_t now(void)
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

/* The kernel brings the clock of another, running process up to date only at its next tick, at
 * most 10 ms away. */
uint64_t cpu_of(const pid_t *pids, int count)
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

/* ---- latencies ---- */

void record(struct histogram *histogram, uint64_t ns)
{
    int bucket = (int)ns;
    if (ns >= 2 * HISTOGRAM_STEPS) {
        int shift = 57 - __builtin_clzll(ns); /* leaves 7 bits, the top one set */
        bucket = shift * HISTOGRAM_STEPS + (int)(ns >> shift);
    }
    histogram->count[bucket]++;
}

double quantile_us(const struct histogram *histogram, double quantile)
{
    uint64_t total = 0, seen = 0;
    for (int i = 0; i < 64 * HISTOGRAM_STEPS; i++)
        total += histogram->count[i];
    if (!total)
        return 0;
    uint64_t rank = (uint64_t)(quantile * (double)(total - 1)) + 1;
    int bucket = 0;
    while ((seen += histogram->count[bucket]) < rank)
        bucket++;
    int shift = bucket < 2 * HISTOGRAM_STEPS ? 0 : bucket / HISTOGRAM_STEPS - 1;
    return (double)((uint64_t)(bucket - shift * HISTOGRAM_STEPS) << shift) / 1e3;
}

/* ---- JSON ---- */

const char *value_of(const char *key, const char *text, size_t bytes)
{
    const char *value = memmem(text, bytes, key, strlen(key));
    return value ? value + strlen(key) + strspn(value + strlen(key), " ") : "";
}

uint64_t number_of(const char *key, const char *text, size_t bytes)
{
    const char *value = value_of(key, text, bytes);
    return *value >= '0' && *value <= '9' ? strtoull(value, NULL, 10) : UINT64_MAX;
}
