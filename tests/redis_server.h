/* redis_server: a real redis-server of a test's own, on a unix socket in a folder of its own. It
 * dies with the test. */
#ifndef TESTS_REDIS_SERVER_H
#define TESTS_REDIS_SERVER_H

#include "base/span.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct redis_server {
    char dir[64], path[80];
    char address[96]; /* for redis_options */
    pid_t pid;        /* 0: does not run */
};

/* Makes the folder; starts nothing. */
static inline void redis_server_init(struct redis_server *server)
{
    strcpy(server->dir, "/tmp/lahar-test-redis-XXXXXX");
    const char *made = mkdtemp(server->dir);
    assert(made != NULL);
    snprintf(server->path, sizeof server->path, "%s/s", server->dir);
    snprintf(server->address, sizeof server->address, "unix:%s", server->path);
    server->pid = 0;
}

/* With one more option and its value, or NULL. Does not wait until it listens. */
static inline void redis_server_start(struct redis_server *server, const char *option,
                                      const char *value)
{
    assert(server->pid == 0);
    server->pid = fork();
    assert(server->pid >= 0);
    if (server->pid > 0)
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", server->path, "--dir",
           server->dir, "--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile",
           "server.log", option, value, (char *)NULL);
    _exit(127);
}

/* kill -9, and gone when it returns. */
static inline void redis_server_kill(struct redis_server *server)
{
    if (server->pid == 0)
        return;
    kill(server->pid, SIGKILL);
    pid_t ended = waitpid(server->pid, NULL, 0);
    assert(ended == server->pid);
    server->pid = 0;
}

/* Kills it and takes the folder away. */
static inline void redis_server_end(struct redis_server *server)
{
    redis_server_kill(server);
    char log[128];
    snprintf(log, sizeof log, "%s/server.log", server->dir);
    unlink(log);
    unlink(server->path);
    rmdir(server->dir);
}

#endif
