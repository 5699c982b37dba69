/* Load generator: load WORKLOAD --port N [options].
 *
 * fanout   one publisher, many subscribers     calls   round trips of a call
 * hold     connections that do nothing         storm   everybody comes back after a restart
 * listen   rows that a back end publishes
 *
 * Starts nothing and compares nothing: the Python programs do. One thread and one epoll set, so
 * that sending and receiving share one clock and a latency is a subtraction.
 *
 * Prints JSON: the measurement, or {"error": text} with exit status 1. */
#define _GNU_SOURCE
#include "workloads.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct workload_options wanted = {
    .messages = 1000, .outstanding = 1, .seconds = 1, .pace = {.batch = 1, .window = UINT64_MAX}};

struct stretch begin(void)
{
    struct stretch stretch = {.server = cpu_of(options.pids, options.pid_count)};
    stretch.own = read_clock(CLOCK_PROCESS_CPUTIME_ID);
    stretch.start = now();
    return stretch;
}

void end(struct stretch *stretch)
{
    stretch->seconds = (double)(now() - stretch->start) / SECOND;
    stretch->own_share = (double)(read_clock(CLOCK_PROCESS_CPUTIME_ID) - stretch->own) / SECOND /
                         stretch->seconds;
    stretch->server_seconds =
        (double)(cpu_of(options.pids, options.pid_count) - stretch->server) / SECOND;
}

void print_stretch(const struct stretch *stretch)
{
    printf("\"seconds\": %.6f, \"server_cpu_seconds\": %.6f, \"server_cpu_share\": %.4f, "
           "\"generator_cpu_share\": %.4f, ", stretch->seconds, stretch->server_seconds,
           stretch->server_seconds / stretch->seconds, stretch->own_share);
}

static void add_pid(const char *text)
{
    if (options.pid_count == sizeof options.pids / sizeof *options.pids)
        fail("too many --pid");
    options.pids[options.pid_count++] = atoi(text);
}

static void parse_options(int argc, char **argv)
{
    static const struct option names[] = {
        {"port", 1, 0, 'p'},          {"dialect", 1, 0, 'd'},  {"path", 1, 0, 'u'},
        {"clients", 1, 0, 'n'},       {"channels", 1, 0, 'c'}, {"subscriptions", 1, 0, 'k'},
        {"frame-bytes", 1, 0, 'b'},   {"timeout", 1, 0, 't'},  {"pid", 1, 0, 'P'},
        {"messages", 1, 0, 'm'},      {"warm-up", 1, 0, 'w'},  {"window", 1, 0, 'i'},
        {"rate", 1, 0, 'r'},          {"batch", 1, 0, 'a'},    {"lockstep", 0, 0, 'l'},
        {"publisher-subscribed", 0, 0, 's'},                   {"bystander", 0, 0, 'y'},
        {"outstanding", 1, 0, 'o'},   {"seconds", 1, 0, 'S'},  {"texts", 1, 0, 'T'},
        {0, 0, 0, 0}};
    for (int name; (name = getopt_long(argc, argv, "", names, NULL)) != -1;)
        switch (name) {
        case 'p': options.port = atoi(optarg); break;
        case 'd': choose_dialect(optarg); break;
        case 'u': options.path = optarg; break;
        case 'n': options.clients = atoi(optarg); break;
        case 'c': options.channels = atoi(optarg); break;
        case 'k': options.subscriptions = atoi(optarg); break;
        case 'b': options.frame_bytes = atoi(optarg); break;
        case 't': options.timeout = atof(optarg); break;
        case 'P': add_pid(optarg); break;
        case 'm': wanted.messages = strtoull(optarg, NULL, 10); break;
        case 'w': wanted.warm_up = strtoull(optarg, NULL, 10); break;
        case 'i': wanted.pace.window = strtoull(optarg, NULL, 10); break;
        case 'r': wanted.pace.interval = (uint64_t)(SECOND / atof(optarg)); break;
        case 'a': wanted.pace.batch = strtoull(optarg, NULL, 10); break;
        case 'l': wanted.pace.lockstep = true; break;
        case 's': wanted.publisher_subscribed = true; break;
        case 'y': wanted.bystander = true; break;
        case 'o': wanted.outstanding = atoi(optarg); break;
        case 'S': wanted.seconds = atof(optarg); break;
        case 'T': wanted.texts = optarg; break;
        default: fail("unknown option; see parse_options in load/main.c");
        }
    if (options.port < 1 || options.port > 65535 || options.clients < 1 || !wanted.messages ||
        options.frame_bytes > 60000 || options.timeout <= 0 || options.channels < 1 ||
        options.subscriptions < 0 || options.subscriptions > 1000 || !wanted.pace.batch ||
        options.subscriptions > options.channels || wanted.outstanding < 1 || wanted.seconds <= 0)
        fail("expected --port N and sensible values of the other options");
    if (!dialect->subscribe && options.channels > 1)
        fail("%s: a connection has one channel", dialect->name);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(const struct workload_options *);
    } workloads[] = {
        {"fanout", run_fanout}, {"calls", run_calls}, {"hold", run_hold}, {"storm", run_storm},
        {"listen", run_listen}};
    options.clients = 1000, options.subscriptions = 1, options.channels = 1;
    options.frame_bytes = 130, options.timeout = 60;
    parse_options(argc, argv);
    for (size_t i = 0; optind < argc && i < sizeof workloads / sizeof *workloads; i++)
        if (!strcmp(argv[optind], workloads[i].name)) {
            workloads[i].run(&wanted);
            return 0;
        }
    fail("expected one of the workloads fanout, calls, hold, storm, listen");
}
