#include "edge/proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#define HEAD_LEN 16u
#define SIGNATURE_LEN 12u
#define COMMAND_LOCAL 0x20u
#define COMMAND_PROXY 0x21u
#define FAMILY_TCP4 0x11u
#define FAMILY_TCP6 0x21u
#define TCP4_LEN 12u /* two addresses and two ports */
#define TCP6_LEN 36u

static const uint8_t signature[SIGNATURE_LEN] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                                 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

/* Whether the first bytes, however few, can begin a header: who speaks something else is not kept
 * waiting. */
static bool begins_well(struct span bytes)
{
    size_t len = bytes.len < SIGNATURE_LEN ? bytes.len : SIGNATURE_LEN;
    if (memcmp(bytes.at, signature, len) != 0)
        return false;
    return bytes.len <= SIGNATURE_LEN || bytes.at[12] == COMMAND_LOCAL ||
           bytes.at[12] == COMMAND_PROXY;
}

static void set_client(const uint8_t *addresses, bool v6, struct sockaddr_storage *from)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    /* The client's address, ours, its port, ours. */
    memset(from, 0, sizeof *from);
    if (v6) {
        memcpy(&in6.sin6_addr, addresses, 16);
        memcpy(&in6.sin6_port, addresses + 32, 2);
        memcpy(from, &in6, sizeof in6);
    } else {
        memcpy(&in.sin_addr, addresses, 4);
        memcpy(&in.sin_port, addresses + 8, 2);
        memcpy(from, &in, sizeof in);
    }
}

enum proxy_status proxy_read(struct span bytes, size_t *needed, struct sockaddr_storage *from)
{
    *needed = HEAD_LEN;
    if (bytes.len == 0)
        return PROXY_PARTIAL;
    if (!begins_well(bytes))
        return PROXY_INVALID;
    if (bytes.len < HEAD_LEN)
        return PROXY_PARTIAL;
    size_t len = (size_t)bytes.at[14] << 8 | bytes.at[15];
    uint8_t family = bytes.at[13];
    *needed = HEAD_LEN + len;
    if (*needed > PROXY_BYTES_MAX)
        return PROXY_INVALID;
    bool own = bytes.at[12] == COMMAND_LOCAL;
    bool v4 = !own && family == FAMILY_TCP4, v6 = !own && family == FAMILY_TCP6;
    if ((v4 && len < TCP4_LEN) || (v6 && len < TCP6_LEN))
        return PROXY_INVALID;
    if (bytes.len < *needed)
        return PROXY_PARTIAL;
    if (!v4 && !v6)
        return PROXY_OWN;
    set_client(bytes.at + HEAD_LEN, v6, from);
    return PROXY_CLIENT;
}

/* ---- nets ---- */

#define MAPPED_BITS 96u

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool parse_bits(const char *text, uint32_t bits_max, uint32_t *bits)
{
    size_t len = strlen(text);
    *bits = 0;
    if (len == 0 || len > 3 || (len > 1 && text[0] == '0'))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *bits = *bits * 10 + (uint32_t)(text[i] - '0');
    }
    return *bits <= bits_max;
}

static bool rest_is_zero(const struct proxy_net *net)
{
    for (uint32_t bit = net->bits; bit < 128; bit++)
        if (net->address[bit / 8] & 0x80u >> bit % 8)
            return false;
    return true;
}

bool proxy_net_parse(const char *text, struct proxy_net *net)
{
    char host[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof host)
        return false;
    memcpy(host, text, len);
    host[len] = '\0';
    memcpy(net->address, mapped, sizeof mapped);
    bool v4 = inet_pton(AF_INET, host, net->address + sizeof mapped) == 1;
    if (!v4 && inet_pton(AF_INET6, host, net->address) != 1)
        return false;
    uint32_t bits = v4 ? 32 : 128;
    if (slash != NULL && !parse_bits(slash + 1, bits, &bits))
        return false;
    net->bits = (uint8_t)(v4 ? MAPPED_BITS + bits : bits);
    return rest_is_zero(net);
}

bool proxy_net_has(const struct proxy_net *net, const struct sockaddr *at)
{
    uint8_t address[16];
    if (at->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, at, sizeof in);
        memcpy(address, mapped, sizeof mapped);
        memcpy(address + sizeof mapped, &in.sin_addr, 4);
    } else if (at->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, at, sizeof in6);
        memcpy(address, &in6.sin6_addr, 16);
    } else {
        return false;
    }
    uint32_t whole = net->bits / 8, rest = net->bits % 8;
    if (memcmp(address, net->address, whole) != 0)
        return false;
    return rest == 0 || ((address[whole] ^ net->address[whole]) & (0xff00u >> rest) & 0xffu) == 0;
}
