/* Subscribers that are told what changed at a back end, which somebody else speaks to.
 *
 * Every client subscribes with a text of its own, a line of --texts. Then rows come, some in a
 * frame or each in its own: {"seq":.., "at":.., "pad":".."}, `at` in nanoseconds of the machine's
 * monotonic clock. Each client must get every row once, in order and unchanged.
 *
 * Says when everybody has subscribed; a line on standard input then begins the measurement. */
#define _GNU_SOURCE
#include "workloads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

struct text {
    char *text; /* that begins with this row, as the first client received and checked it */
    size_t bytes;
    uint64_t rows, at;
};

static FILE *texts;
static struct text *known; /* by the first row of a text */
static struct histogram latencies;
static uint64_t rows_wanted, rows_received, subscribers;
static bool told;

static void count_rows(struct client *client, const struct text *text)
{
    *client->next += text->rows;
    rows_received += text->rows;
    record(&latencies, read_clock(CLOCK_MONOTONIC) - text->at);
}

static bool expect_rows(struct client *client, const char *text, size_t bytes, uint64_t received)
{
    (void)received;
    uint64_t next = client->state == READY ? *client->next : rows_wanted;
    if (next >= rows_wanted || known[next].bytes != bytes || memcmp(known[next].text, text, bytes))
        return false;
    count_rows(client, &known[next]);
    return true;
}

static void take_rows(struct client *client, const char *text, size_t bytes, uint64_t received)
{
    (void)received;
    uint64_t first = *client->next, seq = first;
    const char *end = text + bytes, *row = text;
    struct text *new = &known[first];
    if (first >= rows_wanted || new->text)
        refuse(client, "the same rows as everybody", text, bytes);
    for (; (row = memmem(row, (size_t)(end - row), "\"seq\":", 6)); row++, seq++) {
        const char *pad = value_of("\"pad\":", row, (size_t)(end - row));
        if (seq >= rows_wanted || number_of("\"seq\":", row, (size_t)(end - row)) != seq ||
            *pad != '"' || (int)strspn(pad + 1, "x") != options.frame_bytes ||
            pad[options.frame_bytes + 1] != '"')
            fail("subscriber %d: expected row %llu, got %.*s", client->number,
                 (unsigned long long)seq, (int)(end - row < 200 ? end - row : 200), row);
    }
    if (seq == first)
        refuse(client, "a row", text, bytes);
    *new = (struct text){.text = memcpy(malloc(bytes), text, bytes), .bytes = bytes,
                         .rows = seq - first, .at = number_of("\"at\":", text, bytes)};
    count_rows(client, new);
}

static void ask(struct client *client)
{
    static uint8_t frame[2 * MAX_FRAME];
    char *line = NULL;
    size_t room = 0;
    ssize_t bytes = getline(&line, &room, texts);
    if (bytes < 2)
        fail("client %d: there is no line for it in --texts", client->number);
    send_now(client, frame, put_frame(frame, 1, line, (size_t)bytes - 1));
    free(line);
}

static void take_answer(struct client *client, uint64_t id, const char *text, size_t bytes,
                        uint64_t received)
{
    (void)received;
    if (id != FIRST_CALL_ID || client->subscribed++)
        refuse(client, "one answer to its subscription", text, bytes);
    subscribers++;
}

static void read_input(void)
{
    char bytes[100];
    if (read(STDIN_FILENO, bytes, sizeof bytes) <= 0)
        fail("standard input ended before the measurement");
    told = true;
}

static void serve_until(const uint64_t *count, uint64_t wanted, const char *what)
{
    uint64_t deadline = now() + (uint64_t)(options.timeout * SECOND);
    while (*count < wanted) {
        if (now() > deadline)
            fail("after %g s %llu of %llu %s", options.timeout, (unsigned long long)*count,
                 (unsigned long long)wanted, what);
        serve_events(SECOND / 10);
    }
}

void run_listen(const struct workload_options *wanted)
{
    uint64_t everything = wanted->messages * (uint64_t)options.clients, warm = 0;
    rows_wanted = wanted->warm_up + wanted->messages;
    texts = wanted->texts ? fopen(wanted->texts, "r") : NULL;
    if (!texts)
        fail("expected --texts FILE");
    known = calloc(rows_wanted, sizeof *known);
    make_clients(options.clients);
    for (int i = 0; i < client_count; i++)
        clients[i].next = calloc(1, sizeof *clients[i].next);
    workload.ready = ask;
    workload.expected = expect_rows;
    workload.delivery = take_rows;
    workload.answer = take_answer;
    workload.told = read_input;
    open_all_clients();
    serve_until(&subscribers, (uint64_t)client_count, "had subscribed");
    watch_standard_input();
    printf("{\"subscribers\": %d}\n", client_count);
    fflush(stdout);
    warm = wanted->warm_up * (uint64_t)options.clients;
    serve_until(&rows_received, warm, "rows of the warm-up had come");
    while (!told)
        serve_events(SECOND / 10);
    memset(&latencies, 0, sizeof latencies);
    struct stretch stretch = begin();
    printf("{\"measuring\": true}\n");
    fflush(stdout);
    serve_until(&rows_received, warm + everything, "rows had come");
    end(&stretch);
    printf("{");
    print_stretch(&stretch);
    printf("\"deliveries\": %llu, \"deliveries_per_second\": %.0f, "
           "\"cpu_us_per_delivery\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           (unsigned long long)everything, (double)everything / stretch.seconds,
           stretch.server_seconds * 1e6 / (double)everything, quantile_us(&latencies, .5),
           quantile_us(&latencies, .99));
}
