/* limit_expect: what is exported of a limit: how much of it is used, the limit, and how often it
 * was met. tests/check_limits.sh sees to it that each row of edge/limit_rows.h and
 * router/limit_rows.h is named here by some test. */
#ifndef TESTS_LIMIT_EXPECT_H
#define TESTS_LIMIT_EXPECT_H

/* PROGRAM: EDGE or ROUTER. NAME: of the row. */
#define EXPECT_LIMIT(metrics, PROGRAM, NAME, now, limit, rejected)                                 \
    do {                                                                                           \
        assert_int_equal(metrics_get(metrics, PROGRAM##_METRIC_LIMIT_NOW_##NAME), now);            \
        assert_int_equal(metrics_get(metrics, PROGRAM##_METRIC_LIMIT_##NAME), limit);              \
        assert_int_equal(metrics_get(metrics, PROGRAM##_METRIC_LIMIT_REJECTED_##NAME), rejected);  \
    } while (0)

#endif
