#include "bench/cost.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

bool cost_parse(const char *text, struct cost_pids *pids)
{
    pids->count = 0;
    while (*text) {
        char *end;
        long pid = strtol(text, &end, 10);
        if (end == text || pid <= 0 || (*end != ',' && *end != 0) || pids->count == COST_PIDS_MAX)
            return false;
        pids->pid[pids->count++] = (pid_t)pid;
        text = *end ? end + 1 : end;
    }
    return pids->count > 0;
}

/* The first number in a file; 0 if it cannot be read. */
static uint64_t first_number(const char *path)
{
    unsigned long long number = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    if (fscanf(file, "%llu", &number) != 1)
        number = 0;
    fclose(file);
    return number;
}

/* By thread, because /proc/PID/schedstat tells of the first thread only and /proc/PID/stat counts
 * hundredths of a second. */
static uint64_t cpu_ns_of(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return 0;
    uint64_t sum = 0;
    for (struct dirent *task; (task = readdir(tasks)) != NULL;) {
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.16s/schedstat", (int)pid, task->d_name);
        sum += first_number(path);
    }
    closedir(tasks);
    return sum;
}

static uint64_t resident_of(pid_t pid)
{
    char path[64], line[256];
    unsigned long long kib, sum = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "Rss: %llu kB", &kib) == 1)
            sum = kib * 1024u;
    fclose(file);
    return sum;
}

void cost_take(const struct cost_pids *pids, struct cost_sample *sample)
{
    for (uint32_t i = 0; i < pids->count; i++) {
        sample->cpu_ns[i] = cpu_ns_of(pids->pid[i]);
        sample->resident[i] = resident_of(pids->pid[i]);
    }
}

uint64_t cost_cpu_ns(const struct cost_pids *pids, const struct cost_sample *before,
                     const struct cost_sample *after)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < pids->count; i++)
        if (after->cpu_ns[i] > before->cpu_ns[i])
            sum += after->cpu_ns[i] - before->cpu_ns[i];
    return sum;
}

uint64_t cost_own_cpu_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
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
