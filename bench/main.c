/* lahar-bench: drives a cluster and is the referee of what it promises. */
#include "base/log.h"
#include "bench/idle.h"
#include "bench/page.h"
#include "bench/relay.h"
#include "bench/unicast.h"

#include <signal.h>

static enum workload_end serve_relay(const struct options *options)
{
    relay_run(options->listen);
}

static const struct row {
    const char *name;
    enum workload_end (*run)(const struct options *options);
} workloads[] = {
    {"unicast", unicast_run},
    {"idle", idle_run},
    {"relay", serve_relay},
};

int main(int argc, char **argv)
{
    struct options options;
    log_open("lahar-bench");
    if (argc > 1 && strcmp(argv[1], "report") == 0)
        return page_run(argc - 2, argv + 2);
    options_parse(&options, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
        if (strcmp(workloads[i].name, options.workload) == 0)
            return (int)workloads[i].run(&options);
    log_die("'%s' is no workload; lahar-bench --help lists them", options.workload);
}
