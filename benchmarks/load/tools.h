/* What every workload needs: failing, clocks, latencies, values in JSON. Knows no socket. */
#ifndef TOOLS_H
#define TOOLS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SECOND 1000000000ull
#define HISTOGRAM_STEPS 64 /* to every doubling: a resolution of 1.6 % */

/* Prints {"error": text}, which the program that started us shows, and ends. */
__attribute__((noreturn, format(printf, 1, 2))) void fail(const char *format, ...);

uint64_t read_clock(clockid_t clock);

/* Nanoseconds since the first call, so that JSON numbers, which are doubles, hold every time
 * exactly. */
uint64_t now(void);

/* User and system time of all threads of some processes, once they have come to rest: the figures
 * of /proc/PID/stat, but in nanoseconds instead of hundredths of a second. */
uint64_t cpu_of(const pid_t *pids, int count);

struct histogram {
    uint64_t count[64 * HISTOGRAM_STEPS];
};

void record(struct histogram *histogram, uint64_t ns);
double quantile_us(const struct histogram *histogram, double quantile); /* 0 when empty */

/* Our texts end with a brace or a bracket, so a number or a string of `x` ends inside its text. */

/* What follows a key, given as `"key":`; an empty string where the key is missing. */
const char *value_of(const char *key, const char *text, size_t bytes);
uint64_t number_of(const char *key, const char *text, size_t bytes); /* UINT64_MAX: none */

#endif
