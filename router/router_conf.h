/* router_conf: the settings of lahar-router. */
#ifndef ROUTER_ROUTER_CONF_H
#define ROUTER_ROUTER_CONF_H

#include "base/conf.h"

const struct conf_key *router_conf_keys(void);

/* What the table cannot say: addresses and the lists of shards. */
MUST_CHECK bool router_conf_check(const struct conf *conf, struct conf_error *error);

#endif
