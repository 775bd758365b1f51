#include "bench/connect.h"

enum workload_end connect_lead(struct lead *lead)
{
    struct report *report = lead_report(lead);
    report->comes_and_goes = true;
    if (lead_login(lead) && lead_warm_up(lead) && lead_measure(lead))
        (void)lead_drain(lead);
    return lead_end(lead);
}
