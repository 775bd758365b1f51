/* edge_conf: the settings of lahar-edge. */
#ifndef EDGE_EDGE_CONF_H
#define EDGE_EDGE_CONF_H

#include "base/conf.h"
#include "base/overload.h"
#include "edge/conn.h"
#include "edge/session.h"

const struct conf_key *edge_conf_keys(void);

/* What the table cannot say: addresses, the list of shards, what belongs together. */
MUST_CHECK bool edge_conf_check(const struct conf *conf, struct conf_error *error);

/* The limits that they hold; texts borrow from `conf`. */
/* What certs_load needs; false if there is no listener with TLS. */
MUST_CHECK bool edge_conf_certs(const struct conf *conf, struct certs_options *options);
struct conn_options edge_conf_conns(const struct conf *conf);
/* The nets of proxy.from; how many. */
#define EDGE_CONF_PROXIES_MAX 256u
uint32_t edge_conf_proxies(const struct conf *conf, struct proxy_net nets[EDGE_CONF_PROXIES_MAX]);
/* All but names: what the worker and the shards are called. */
struct session_options edge_conf_sessions(const struct conf *conf);
struct limits_options edge_conf_limits(const struct conf *conf);
struct overload edge_conf_overload(const struct conf *conf);
struct link_options edge_conf_link(const struct conf *conf);

#endif
