#include "bench/unicast.h"

enum workload_end unicast_lead(struct lead *lead)
{
    struct report *report = lead_report(lead);
    report->messages = true;
    report->held = lead_options(lead)->rate > 0;
    if (lead_login(lead) && lead_warm_up(lead) && lead_measure(lead))
        (void)lead_drain(lead);
    return lead_end(lead);
}
