#include "bench/idle.h"

enum workload_end idle_lead(struct lead *lead)
{
    struct report *report = lead_report(lead);
    report->held = true;
    report->messages = lead_options(lead)->rate > 0;
    /* While it warms up, what logins needed for a moment is given back. */
    if (lead_login(lead) && lead_warm_up(lead) && lead_measure(lead))
        (void)lead_drain(lead);
    return lead_end(lead);
}
