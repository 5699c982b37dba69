/* Round trips: every connection always has the same number of calls under way. */
#include "echoes.h"
#include "workloads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LATER_ID (1 << 24) /* beyond those of the warm-up */

static struct slot *slots; /* those of a client are one after the other */
static uint64_t outstanding, under_way, answered;
static bool go_on;
static struct histogram latencies;

/* The calls that one read of a client has made room for leave in one write. */
static uint8_t *batch;
static size_t batch_bytes;

static struct slot *slot_of(const struct client *client, uint64_t id)
{
    uint64_t number = (id - FIRST_CALL_ID) % outstanding;
    return &slots[(uint64_t)client->number * outstanding + number];
}

static void add_call(struct client *client, uint64_t id)
{
    batch_bytes += put_call(batch + batch_bytes, client, slot_of(client, id), id);
    under_way++;
}

static void send_batch(struct client *client)
{
    if (batch_bytes)
        send_now(client, batch, batch_bytes);
    batch_bytes = 0;
}

static void take_answer(struct client *client, uint64_t id, const char *text, size_t bytes,
                        uint64_t received)
{
    if (id == UINT64_MAX || id < FIRST_CALL_ID)
        refuse(client, "no such answer", text, bytes);
    record(&latencies, take_echo(client, slot_of(client, id), id, text, bytes, received));
    under_way--;
    answered++;
    if (go_on)
        add_call(client, id + outstanding);
}

/* Calls for some seconds, and waits for the last answers. */
static void call_for(double seconds, uint64_t first_id)
{
    uint64_t end = now() + (uint64_t)(seconds * SECOND);
    uint64_t deadline = end + (uint64_t)(options.timeout * SECOND);
    go_on = true;
    for (int i = 0; i < client_count; i++) {
        for (uint64_t j = 0; j < outstanding; j++)
            add_call(&clients[i], first_id + j);
        send_batch(&clients[i]);
    }
    while (under_way) {
        uint64_t time = now();
        go_on = time < end;
        if (time > deadline)
            fail("%g s after the last call %llu answers had not come", options.timeout,
                 (unsigned long long)under_way);
        serve_events(SECOND / 100);
    }
}

void run_calls(const struct workload_options *wanted)
{
    outstanding = (uint64_t)wanted->outstanding;
    options.subscriptions = 0;
    make_clients(options.clients);
    slots = calloc((size_t)client_count * outstanding, sizeof *slots);
    batch = malloc(outstanding * MAX_CLIENT_FRAME);
    workload.answer = take_answer;
    workload.received = send_batch;
    open_all_clients();
    call_for(wanted->seconds / 5, FIRST_CALL_ID);
    memset(&latencies, 0, sizeof latencies);
    answered = 0;
    struct stretch stretch = begin();
    call_for(wanted->seconds, FIRST_CALL_ID + LATER_ID / outstanding * outstanding);
    end(&stretch);
    printf("{");
    print_stretch(&stretch);
    printf("\"calls\": %llu, \"calls_per_second\": %.0f, \"cpu_us_per_call\": %.4f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f}\n",
           (unsigned long long)answered, (double)answered / stretch.seconds,
           stretch.server_seconds * 1e6 / (double)answered, quantile_us(&latencies, .5),
           quantile_us(&latencies, .99), quantile_us(&latencies, 1));
}
