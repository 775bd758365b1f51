/* link_net: what the links of a process share (link.h has the contract). */
#ifndef PROTO_LINK_NET_H
#define PROTO_LINK_NET_H

#include "proto/zap.h"

struct link_net {
    struct zap *zap;
};

#endif
