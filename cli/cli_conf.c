#include "cli/cli_conf.h"

static const struct conf_key keys[] = {
    {"servers", CONF_TEXT, "tcp://127.0.0.1:7700", 0, 1024,
     "Edges to connect to as a client, comma-separated: tcp://host:port, tls://host:port, or over "
     "WebSocket ws://host:port/path and wss://host:port/path (path and port may be left out)."},
    {"tls.ca", CONF_TEXT, "", 0, 1024,
     "PEM file of the certificates to trust with tls:// and wss://; empty: those of the system."},
    {"cluster.name", CONF_TEXT, "lahar", 1, 64,
     "The cluster's name: the audience of the tokens that are made here."},
    {"cluster.shards", CONF_LIST, "", 0, 1024,
     "All shards and where they listen, as on the routers: r1/0=tcp://10.0.0.1:7801. For "
     "administration only."},
    {"link.curve", CONF_FLAG, "true", 0, 0,
     "Whether the links to routers are encrypted, as on the routers."},
    {"link.keys", CONF_TEXT, "/etc/lahar/keys", 0, 1024,
     "Directory with admin.key and routers.allow (see lahar keygen link). For administration "
     "only."},
    {"sites.keys", CONF_TEXT, "/etc/lahar/sites", 0, 1024,
     "Directory with the private keys of sites, SITE.key (see lahar keygen site), for making "
     "tokens."},
    {NULL, CONF_FLAG, NULL, 0, 0, NULL},
};

const struct conf_key *cli_conf_keys(void)
{
    return keys;
}
