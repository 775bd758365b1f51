/* lahar-bench: drives a cluster and is the referee of what it promises. */
#include "base/log.h"
#include "bench/page.h"
#include "bench/workload.h"

#include <signal.h>

int main(int argc, char **argv)
{
    struct options options;
    log_open("lahar-bench");
    if (argc > 1 && strcmp(argv[1], "report") == 0)
        return page_run(argc - 2, argv + 2);
    options_parse(&options, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    return (int)workload_run(workload_find(options.workload), &options);
}
