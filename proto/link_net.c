#include "proto/link_net.h"

#include "proto/link.h"

#include <stdlib.h>

struct link_net *link_net_new(const struct link_net_options *options)
{
    struct link_net *net = calloc(1, sizeof *net);
    assert(net != NULL);
    net->zap = zap_new(options->role, options->curve, options->keys, options->io_threads);
    return net;
}

void link_net_reload(struct link_net *net, const struct keys *keys)
{
    zap_reload(net->zap, keys);
}

void link_net_free(struct link_net *net)
{
    if (net == NULL)
        return;
    zap_free(net->zap);
    free(net);
}
