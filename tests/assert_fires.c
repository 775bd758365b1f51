/* Asserts are kept in release builds: one that fails must end the process by SIGABRT. */
#include "base/span.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
    pid_t child = fork();
    if (child < 0)
        return 1;
    if (child == 0) {
        const struct rlimit no_core = {0, 0};
        setrlimit(RLIMIT_CORE, &no_core);
        fclose(stderr);
        struct span span = span_upto(span_text("abc"), 4);
        _exit(span.len == 4 ? 0 : 2);
    }
    int status;
    if (waitpid(child, &status, 0) != child)
        return 1;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT)
        return 0;
    printf("span_upto past the end was let through: NDEBUG must not be defined\n");
    return 1;
}
