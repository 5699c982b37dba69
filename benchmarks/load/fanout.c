/* One publisher, many subscribers; how a publication is paced decides what can be joined.
 *
 * With a bystander: one more connection, which has one call under way all the time. What it waits
 * is how long the server is deaf while it delivers. */
#include "echoes.h"
#include "workloads.h"

#include <stdio.h>
#include <string.h>

#define WARM_UP_WINDOW 16

static struct client *bystander;
static struct slot bystanders_call;
static struct histogram bystanders_latencies;
static bool bystander_goes_on;
static void (*take_publishers_answer)(struct client *, uint64_t, const char *, size_t, uint64_t);

static void call(uint64_t id)
{
    static uint8_t frame[2 * MAX_FRAME];
    send_now(bystander, frame, put_call(frame, bystander, &bystanders_call, id));
}

static void take_answer(struct client *client, uint64_t id, const char *text, size_t bytes,
                        uint64_t received)
{
    if (client != bystander) {
        take_publishers_answer(client, id, text, bytes, received);
        return;
    }
    record(&bystanders_latencies, take_echo(client, &bystanders_call, id, text, bytes, received));
    if (bystander_goes_on)
        call(id + 1);
}

static void start_bystander(void)
{
    take_publishers_answer = workload.answer;
    workload.answer = take_answer;
    urgent = bystander;
    bystander_goes_on = true;
    call(FIRST_CALL_ID);
}

static void stop_bystander(void)
{
    bystander_goes_on = false;
    uint64_t deadline = now() + (uint64_t)(options.timeout * SECOND);
    while (bystanders_call.id) {
        if (now() > deadline)
            fail("the bystander waits for the answer to its last call");
        serve_events(SECOND / 10);
    }
    urgent = NULL;
}

void run_fanout(const struct workload_options *wanted)
{
    int publishers = !wanted->publisher_subscribed;
    make_clients(options.clients + publishers + wanted->bystander);
    prepare_publications(&clients[options.clients + publishers - 1],
                         wanted->warm_up + wanted->messages + (uint64_t)options.channels);
    open_all_clients();
    if (wanted->warm_up)
        exchange(wanted->warm_up, (struct pace){.batch = 1, .window = WARM_UP_WINDOW});
    memset(&delivery_latencies, 0, sizeof delivery_latencies);
    uint64_t first = delivered;
    reads = 0;
    struct stretch stretch = begin();
    if (wanted->bystander) {
        bystander = &clients[client_count - 1];
        start_bystander();
    }
    exchange(wanted->messages, wanted->pace);
    uint64_t deliveries = delivered - first, read_count = reads;
    if (wanted->bystander)
        stop_bystander();
    end(&stretch);
    struct histogram latencies = delivery_latencies;
    size_t frame_bytes = frame_bytes_of_last_message();
    check_that_nothing_more_comes();
    printf("{");
    print_stretch(&stretch);
    if (wanted->bystander)
        printf("\"bystander_p50_us\": %.1f, \"bystander_p99_us\": %.1f, "
               "\"bystander_max_us\": %.1f, ",
               quantile_us(&bystanders_latencies, .5), quantile_us(&bystanders_latencies, .99),
               quantile_us(&bystanders_latencies, 1));
    printf("\"deliveries\": %llu, \"messages\": %llu, \"deliveries_per_second\": %.0f, "
           "\"cpu_us_per_delivery\": %.6f, \"cpu_us_per_message\": %.4f, "
           "\"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f, \"frame_bytes\": %zu, "
           "\"deliveries_per_read\": %.2f}\n",
           (unsigned long long)deliveries, (unsigned long long)wanted->messages,
           (double)deliveries / stretch.seconds,
           stretch.server_seconds * 1e6 / (double)deliveries,
           stretch.server_seconds * 1e6 / (double)wanted->messages, quantile_us(&latencies, .5),
           quantile_us(&latencies, .99), quantile_us(&latencies, 1), frame_bytes,
           (double)deliveries / (double)read_count);
}
