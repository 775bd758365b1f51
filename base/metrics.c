#include "base/metrics.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORKERS_MAX 1024u
#define CACHE_LINE 64u

struct worker {
    struct metrics metrics;
    char *label; /* worker="...", escaped */
};

struct metrics_registry {
    const struct metric *table;
    size_t count;
    /* The ops thread may read while main still adds workers, so they are published by the count. */
    _Atomic size_t worker_count;
    struct worker workers[WORKERS_MAX];
};

static bool same_name(const struct metric *a, const struct metric *b)
{
    return strcmp(a->name, b->name) == 0;
}

struct metrics_registry *metrics_registry_new(const struct metric *table, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert(table[i].name && table[i].labels && table[i].help);
        for (size_t j = 0; j < i; j++) {
            if (!same_name(&table[i], &table[j]))
                continue;
            assert(same_name(&table[i], &table[i - 1])); /* rows of one name stand together */
            assert(table[i].kind == table[j].kind);
            assert(strcmp(table[i].labels, table[j].labels) != 0);
        }
    }
    struct metrics_registry *registry = calloc(1, sizeof *registry);
    assert(registry != NULL);
    registry->table = table;
    registry->count = count;
    return registry;
}

void metrics_registry_free(struct metrics_registry *registry)
{
    if (!registry)
        return;
    size_t count = atomic_load(&registry->worker_count);
    for (size_t i = 0; i < count; i++) {
        free(registry->workers[i].metrics.values);
        free(registry->workers[i].label);
    }
    free(registry);
}

static char *label_of(const char *worker)
{
    char *label = malloc(2 * strlen(worker) + sizeof "worker=\"\"");
    assert(label != NULL);
    char *out = stpcpy(label, "worker=\"");
    for (; *worker; worker++) {
        if (*worker == '\\' || *worker == '"' || *worker == '\n')
            *out++ = '\\';
        *out++ = (char)(*worker == '\n' ? 'n' : *worker);
    }
    strcpy(out, "\"");
    return label;
}

struct metrics *metrics_registry_worker(struct metrics_registry *registry, const char *worker)
{
    size_t index = atomic_load_explicit(&registry->worker_count, memory_order_relaxed);
    assert(index < WORKERS_MAX);
    /* Cache lines of its own, or workers would slow each other down. */
    size_t bytes = (registry->count * sizeof(uint64_t) + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    bytes = bytes > 0 ? bytes : CACHE_LINE;
    _Atomic uint64_t *values = aligned_alloc(CACHE_LINE, bytes);
    assert(values != NULL);
    for (size_t i = 0; i < registry->count; i++)
        atomic_init(&values[i], 0);
    struct worker *added = &registry->workers[index];
    *added = (struct worker){.metrics = {values}, .label = label_of(worker)};
    atomic_store_explicit(&registry->worker_count, index + 1, memory_order_release);
    return &added->metrics;
}

static void print_head(FILE *out, const struct metric *metric)
{
    fprintf(out, "# HELP %s ", metric->name);
    for (const char *c = metric->help; *c; c++) {
        if (*c == '\\' || *c == '\n')
            putc('\\', out);
        putc(*c == '\n' ? 'n' : *c, out);
    }
    fprintf(out, "\n# TYPE %s %s\n", metric->name,
            metric->kind == METRIC_COUNTER ? "counter" : "gauge");
}

static void print_process(FILE *out, const char *name, enum metric_kind kind, const char *help,
                          double value)
{
    print_head(out, &(struct metric){.name = name, .labels = "", .kind = kind, .help = help});
    fprintf(out, value < 1e15 && value == (double)(int64_t)value ? "%s %.0f\n" : "%s %.3f\n", name,
            value);
}

static uint64_t open_fds(void)
{
    struct stat status;
    if (stat("/proc/self/fd", &status) == 0 &&
        status.st_size > 0) /* their number since Linux 6.2 */
        return (uint64_t)status.st_size;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir)
        return 0;
    uint64_t count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count > 3 ? count - 3 : 0; /* ".", "..", and the one that reads */
}

/* The whole of a small file of /proc as text, or an empty one. */
static void read_proc(const char *path, char *out, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd >= 0 ? read(fd, out, room - 1) : -1;
    out[len > 0 ? len : 0] = '\0';
    if (fd >= 0)
        close(fd);
}

static double start_time(void)
{
    char text[8192];
    read_proc("/proc/self/stat", text, sizeof text);
    const char *at = strrchr(text, ')'); /* the name before it may hold anything */
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    double ticks = at ? strtod(at, NULL) : 0;
    FILE *stat_file = fopen("/proc/stat", "re");
    double boot = 0;
    while (stat_file && boot == 0 && fgets(text, sizeof text, stat_file))
        if (strncmp(text, "btime ", 6) == 0)
            boot = strtod(text + 6, NULL);
    if (stat_file)
        fclose(stat_file);
    return boot + ticks / (double)sysconf(_SC_CLK_TCK);
}

static void print_processes(FILE *out)
{
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    char text[256];
    read_proc("/proc/self/statm", text, sizeof text);
    const char *resident = strchr(text, ' ');
    double pages = resident ? strtod(resident, NULL) : 0;
    struct rlimit limit = {0};
    getrlimit(RLIMIT_NOFILE, &limit);

    print_process(out, "process_cpu_seconds_total", METRIC_COUNTER,
                  "User and system CPU time spent.", cpu);
    print_process(out, "process_resident_memory_bytes", METRIC_GAUGE, "Resident memory.",
                  pages * (double)sysconf(_SC_PAGESIZE));
    print_process(out, "process_open_fds", METRIC_GAUGE, "Open file descriptors.",
                  (double)open_fds());
    print_process(out, "process_max_fds", METRIC_GAUGE, "The limit on open file descriptors.",
                  (double)limit.rlim_cur);
    print_process(out, "process_start_time_seconds", METRIC_GAUGE,
                  "When the process began, in seconds since 1970.", start_time());
}

char *metrics_registry_render(const struct metrics_registry *registry, size_t *len)
{
    char *page = NULL;
    FILE *out = open_memstream(&page, len);
    assert(out != NULL);
    size_t workers = atomic_load_explicit(&registry->worker_count, memory_order_acquire);
    for (size_t i = 0; i < registry->count; i++) {
        const struct metric *metric = &registry->table[i];
        if (i == 0 || !same_name(metric, &registry->table[i - 1]))
            print_head(out, metric);
        for (size_t w = 0; w < workers; w++)
            fprintf(out, "%s{%s%s%s} %llu\n", metric->name, registry->workers[w].label,
                    metric->labels[0] ? "," : "", metric->labels,
                    (unsigned long long)metrics_get(&registry->workers[w].metrics, i));
    }
    print_processes(out);
    int closed = fclose(out);
    assert(closed == 0);
    return page;
}
