/* metrics: the page is what Prometheus can read, and each worker's numbers stay its own.
 * threads: yes */
#include "base/metrics.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { ENDED_ACKED, ENDED_NACKED, CONNS, METRICS };

static const struct metric table[METRICS] = {
    {"t_ended_total", "end=\"acked\"", METRIC_COUNTER, "How sends ended."},
    {"t_ended_total", "end=\"nacked\",reason=\"busy\"", METRIC_COUNTER, "How sends ended."},
    {"t_conns", "", METRIC_GAUGE, "Open \\ connections,\nnow."},
};

static size_t occurrences(const char *page, const char *text)
{
    size_t count = 0;
    for (const char *at = page; (at = strstr(at, text)); at++)
        count++;
    return count;
}

static char *render(const struct metrics_registry *registry)
{
    size_t len;
    char *page = metrics_registry_render(registry, &len);
    assert_int_equal(strlen(page), len);
    assert_int_equal(page[len - 1], '\n');
    return page;
}

static double number_after(const char *page, const char *text)
{
    const char *at = strstr(page, text);
    assert_non_null(at);
    return strtod(at + strlen(text), NULL);
}

static void each_worker_has_a_row_of_its_own(void **state)
{
    (void)state;
    struct metrics_registry *registry = metrics_registry_new(table, METRICS);
    struct metrics *a = metrics_registry_worker(registry, "e1/0");
    struct metrics *b = metrics_registry_worker(registry, "e1/1");
    metrics_add(a, ENDED_ACKED, 3);
    metrics_add(a, ENDED_ACKED, 4);
    metrics_set(b, CONNS, UINT64_MAX);
    assert_int_equal(metrics_get(a, ENDED_ACKED), 7);
    assert_int_equal(metrics_get(b, ENDED_ACKED), 0);
    char *page = render(registry);
    assert_non_null(strstr(page, "\nt_ended_total{worker=\"e1/0\",end=\"acked\"} 7\n"));
    assert_non_null(strstr(page, "\nt_ended_total{worker=\"e1/1\",end=\"acked\"} 0\n"));
    assert_non_null(
        strstr(page, "\nt_ended_total{worker=\"e1/0\",end=\"nacked\",reason=\"busy\"} 0\n"));
    assert_non_null(strstr(page, "\nt_conns{worker=\"e1/1\"} 18446744073709551615\n"));
    free(page);
    metrics_registry_free(registry);
}

static void a_name_is_described_once_before_all_its_rows(void **state)
{
    (void)state;
    struct metrics_registry *registry = metrics_registry_new(table, METRICS);
    struct metrics *worker = metrics_registry_worker(registry, "w");
    metrics_set(worker, CONNS, 1);
    char *page = render(registry);
    assert_int_equal(occurrences(page, "# TYPE t_ended_total counter\n"), 1);
    assert_int_equal(occurrences(page, "# HELP t_ended_total How sends ended.\n"), 1);
    assert_int_equal(occurrences(page, "# TYPE t_conns gauge\n"), 1);
    const char *type = strstr(page, "# TYPE t_conns"), *row = strstr(page, "\nt_conns{");
    assert_true(type && row && type < row);
    free(page);
    metrics_registry_free(registry);
}

static void help_and_worker_names_are_escaped(void **state)
{
    (void)state;
    struct metrics_registry *registry = metrics_registry_new(table, METRICS);
    struct metrics *worker = metrics_registry_worker(registry, "a\"b\\c\nd");
    metrics_set(worker, CONNS, 5);
    char *page = render(registry);
    assert_non_null(strstr(page, "# HELP t_conns Open \\\\ connections,\\nnow.\n"));
    assert_non_null(strstr(page, "t_conns{worker=\"a\\\"b\\\\c\\nd\"} 5\n"));
    free(page);
    metrics_registry_free(registry);
}

static void the_process_tells_about_itself(void **state)
{
    (void)state;
    struct metrics_registry *registry = metrics_registry_new(NULL, 0);
    metrics_registry_worker(registry, "w");
    char *page = render(registry);
    assert_true(number_after(page, "\nprocess_resident_memory_bytes ") > 100000);
    double fds = number_after(page, "\nprocess_open_fds ");
    double started = number_after(page, "\nprocess_start_time_seconds ");
    assert_true(number_after(page, "\nprocess_max_fds ") >= fds);
    assert_true(started > (double)time(NULL) - 3600 && started < (double)time(NULL) + 60);
    assert_true(number_after(page, "process_cpu_seconds_total ") >= 0);
    free(page);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    page = render(registry);
    assert_true(number_after(page, "\nprocess_open_fds ") == fds + 2);
    free(page);
    close(pipes[0]);
    close(pipes[1]);
    metrics_registry_free(registry);
}

static void *count_to_a_hundred_thousand(void *metrics)
{
    for (int i = 0; i < 100000; i++)
        metrics_add(metrics, ENDED_ACKED, 1);
    return NULL;
}

static void another_thread_may_render_while_workers_count_and_are_added(void **state)
{
    (void)state;
    struct metrics_registry *registry = metrics_registry_new(table, METRICS);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        struct metrics *worker = metrics_registry_worker(registry, "w");
        assert_int_equal(pthread_create(&threads[i], NULL, count_to_a_hundred_thousand, worker), 0);
        free(render(registry));
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    char *page = render(registry);
    assert_int_equal(occurrences(page, "t_ended_total{worker=\"w\",end=\"acked\"} 100000\n"), 4);
    free(page);
    metrics_registry_free(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_worker_has_a_row_of_its_own),
        cmocka_unit_test(a_name_is_described_once_before_all_its_rows),
        cmocka_unit_test(help_and_worker_names_are_escaped),
        cmocka_unit_test(the_process_tells_about_itself),
        cmocka_unit_test(another_thread_may_render_while_workers_count_and_are_added),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
