#include "bench/cost.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define COMM_LEN 15u /* of a program's name the kernel keeps so much */

static bool add(struct cost_pids *pids, pid_t pid)
{
    for (uint32_t i = 0; i < pids->count; i++)
        if (pids->pid[i] == pid)
            return true;
    if (pids->count == COST_PIDS_MAX)
        return false;
    pids->pid[pids->count++] = pid;
    return true;
}

bool cost_parse(const char *text, struct cost_pids *pids)
{
    if (!*text)
        return false;
    while (*text) {
        char *end;
        long pid = strtol(text, &end, 10);
        if (end == text || pid <= 0 || (*end != ',' && *end != 0) || !add(pids, (pid_t)pid))
            return false;
        text = *end ? end + 1 : end;
    }
    return true;
}

static bool add_named(const char *name, struct cost_pids *pids)
{
    DIR *all = opendir("/proc");
    bool found = false, room = true;
    if (!all)
        return false;
    for (struct dirent *one; room && (one = readdir(all)) != NULL;) {
        char comm[32];
        pid_t pid = (pid_t)strtol(one->d_name, NULL, 10);
        if (pid <= 0)
            continue;
        cost_name(pid, comm);
        if (strncmp(comm, name, COMM_LEN) == 0) {
            found = true;
            room = add(pids, pid);
        }
    }
    closedir(all);
    return found && room;
}

bool cost_find(const char *names, struct cost_pids *pids)
{
    char *copy = strdup(names), *rest = copy;
    bool found = true;
    assert(copy != NULL);
    for (char *one; (one = strsep(&rest, ",")) != NULL;)
        found = *one && add_named(one, pids) && found;
    free(copy);
    return found;
}

uint64_t cost_process_cpu_ns(pid_t pid)
{
    clockid_t clock;
    struct timespec time;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0)
        return 0;
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t cost_own_cpu_ns(void)
{
    return cost_process_cpu_ns(getpid());
}

/* A line of /proc/PID/smaps_rollup, in bytes. */
static uint64_t rollup(pid_t pid, const char *format)
{
    char path[64], line[256];
    unsigned long long kib, sum = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    size_t len = strlen(format);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, format, len) == 0 && sscanf(line + len, " %llu kB", &kib) == 1)
            sum = kib * 1024u;
    fclose(file);
    return sum;
}

uint64_t cost_process_share(pid_t pid)
{
    return rollup(pid, "Pss:");
}

void cost_take_cpu(const struct cost_pids *pids, struct cost_sample *sample)
{
    for (uint32_t i = 0; i < pids->count; i++)
        sample->cpu_ns[i] = cost_process_cpu_ns(pids->pid[i]);
}

void cost_take(const struct cost_pids *pids, struct cost_sample *sample)
{
    /* CPU first and at once, since looking at memory takes its time. */
    cost_take_cpu(pids, sample);
    for (uint32_t i = 0; i < pids->count; i++)
        sample->resident[i] = rollup(pids->pid[i], "Rss:");
}

uint64_t cost_cpu_of(uint32_t place, const struct cost_sample *before,
                     const struct cost_sample *after)
{
    /* One that is gone has 0. */
    return after->cpu_ns[place] > before->cpu_ns[place]
               ? after->cpu_ns[place] - before->cpu_ns[place]
               : 0;
}

uint64_t cost_cpu_ns(const struct cost_pids *pids, const struct cost_sample *before,
                     const struct cost_sample *after)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < pids->count; i++)
        sum += cost_cpu_of(i, before, after);
    return sum;
}

double cost_grown(const struct cost_pids *pids, const struct cost_sample *before,
                  const struct cost_sample *after)
{
    double sum = 0;
    for (uint32_t i = 0; i < pids->count; i++)
        if (after->resident[i] > 0)
            sum += (double)after->resident[i] - (double)before->resident[i];
    return sum;
}

/* --- the kernel ------------------------------------------------------------------------------- */

/* The number after `name` in a line that begins with `start`. */
static bool number_in(const char *path, const char *start, const char *name, uint64_t *number)
{
    char line[512];
    bool found = false;
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    while (!found && fgets(line, sizeof line, file)) {
        const char *at = strncmp(line, start, strlen(start)) == 0 ? strstr(line, name) : NULL;
        unsigned long long value;
        if (at && sscanf(at + strlen(name), " %llu", &value) == 1) {
            *number = value;
            found = true;
        }
    }
    fclose(file);
    return found;
}

/* Caches of files and of processes come and go by themselves. */
static bool grows_with_sockets(const char *name)
{
    static const char *const others[] = {"btrfs",   "ext4",    "xfs",  "fuse",     "overlay",
                                         "nfs",     "inode",   "proc", "shmem",    "radix_tree",
                                         "buffer",  "vm_area", "anon", "kernfs",   "task_struct",
                                         "mm_",     "maple",   "bio",  "extent",   "signal",
                                         "sighand", "xarray",  "pid",  "debug_obj"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strncmp(name, others[i], strlen(others[i])) == 0)
            return false;
    return true;
}

static bool slab_bytes(uint64_t *bytes)
{
    char line[512], name[64];
    unsigned long long slabs, pages_each;
    uint64_t pages = 0;
    FILE *file = fopen("/proc/slabinfo", "re");
    if (!file)
        return false;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%63s %*u %*u %*u %*u %llu : tunables %*u %*u %*u : slabdata %*u %llu",
                   name, &pages_each, &slabs) == 3 &&
            grows_with_sockets(name))
            pages += slabs * pages_each;
    fclose(file);
    *bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
    return pages > 0;
}

uint64_t cost_kernel_bytes(void)
{
    uint64_t slabs, tcp_pages, kib;
    if (!slab_bytes(&slabs)) {
        if (!number_in("/proc/meminfo", "Slab:", ":", &kib))
            return 0;
        slabs = kib * 1024u;
    }
    if (!number_in("/proc/net/sockstat", "TCP:", " mem", &tcp_pages))
        return 0;
    return slabs + tcp_pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void cost_name(pid_t pid, char out[32])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file || !fgets(out, 32, file))
        strcpy(out, "?");
    if (file)
        fclose(file);
    out[strcspn(out, "\n")] = 0;
}
