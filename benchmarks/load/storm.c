/* The server of many clients is restarted: all of them come back at once.
 *
 * Connects and subscribes everybody and says so; then the program that started us kills the
 * server. Each client that notices tries again after a short, random delay. A line on standard
 * input, "PORT PID...", tells that the new server listens: time counts from there. At the end a
 * publication must reach everybody. */
#define _GNU_SOURCE
#include "workloads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SHORTEST_DELAY (SECOND / 10)
#define LONGEST_DELAY (SECOND / 2)

static uint64_t listening_since, server_cpu, lost_count, attempts;
static struct histogram served;

static void lost(struct client *client)
{
    lost_count++;
    client->retry_at =
        now() + SHORTEST_DELAY + (uint64_t)random() % (LONGEST_DELAY - SHORTEST_DELAY);
}

static void ready(struct client *client)
{
    if (listening_since)
        client->served_after = now() - listening_since;
}

static void server_is_back(void)
{
    char line[1024];
    if (!fgets(line, sizeof line, stdin))
        fail("expected the line PORT PID... on standard input, got its end");
    char *rest = strtok(line, " \n");
    options.port = rest ? atoi(rest) : 0;
    options.pid_count = 0;
    while ((rest = strtok(NULL, " \n")) && options.pid_count < 64)
        options.pids[options.pid_count++] = atoi(rest);
    server_cpu = cpu_of(options.pids, options.pid_count);
    listening_since = now();
}

/* Opens the clients whose delay is over; returns when the next one's is. */
static uint64_t try_again(void)
{
    uint64_t time = now(), next = time + SECOND / 10;
    for (int i = 0; i < client_count; i++) {
        struct client *client = &clients[i];
        if (client->state == CLOSED && client->retry_at <= time) {
            attempts++;
            open_client(client);
        } else if (client->state == CLOSED && client->retry_at < next) {
            next = client->retry_at;
        }
    }
    return next;
}

void run_storm(const struct workload_options *wanted)
{
    (void)wanted;
    make_clients(options.clients + 1);
    prepare_publications(&clients[client_count - 1], 2 * (uint64_t)options.channels);
    workload.ready = ready;
    workload.told = server_is_back;
    open_all_clients();
    check_that_nothing_more_comes();
    workload.lost = lost;
    watch_standard_input();
    printf("{\"connected\": %d}\n", client_count);
    fflush(stdout);

    /* The server is killed any moment now; its clients notice in their own time. */
    uint64_t deadline = now() + (uint64_t)(options.timeout * SECOND), next = 0;
    while (!listening_since || lost_count < (uint64_t)client_count || ready_count < client_count) {
        if (now() >= next)
            next = try_again();
        if (now() > deadline)
            fail("%g s after it was due, %d of %d clients were served again", options.timeout,
                 ready_count, client_count);
        uint64_t time = now();
        serve_events(next > time ? next - time : 0);
    }
    double seconds = (double)(now() - listening_since) / SECOND;
    double cpu = (double)(cpu_of(options.pids, options.pid_count) - server_cpu) / SECOND;
    workload.lost = NULL;
    for (int i = 0; i < client_count; i++) /* 0: served before we knew that the server listens */
        record(&served, clients[i].served_after);
    check_that_nothing_more_comes();
    printf("{\"clients\": %d, \"seconds_to_last\": %.4f, \"p50_seconds\": %.4f, "
           "\"p99_seconds\": %.4f, \"cpu_us_per_client\": %.3f, \"attempts\": %llu}\n",
           client_count, seconds, quantile_us(&served, .5) / 1e6, quantile_us(&served, .99) / 1e6,
           cpu * 1e6 / client_count, (unsigned long long)attempts);
}
