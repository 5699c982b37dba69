/* Connections that do nothing. Says when they are ready, and holds them until standard input
 * ends: meanwhile the program that started us looks at the server. */
#include "workloads.h"

#include <stdio.h>
#include <unistd.h>

static bool told;

static void end_of_input(void)
{
    char byte;
    if (read(STDIN_FILENO, &byte, 1) == 0)
        told = true;
}

void run_hold(const struct workload_options *wanted)
{
    (void)wanted;
    make_clients(options.clients);
    workload.told = end_of_input;
    struct stretch stretch = begin();
    open_all_clients();
    end(&stretch);
    watch_standard_input();
    printf("{");
    print_stretch(&stretch);
    printf("\"connections\": %d, \"cpu_us_per_connect\": %.3f, \"connects_per_second\": %.0f}\n",
           client_count, stretch.server_seconds * 1e6 / client_count,
           client_count / stretch.seconds);
    fflush(stdout);
    while (!told)
        serve_events(SECOND);
    printf("{\"held\": %d}\n", ready_count);
}
