/* dns: the addresses of a host, looked up by a thread of its own, so that a loop need not wait.
 *
 * What is an address already is answered at once and without a thread.
 */
#ifndef BASE_DNS_H
#define BASE_DNS_H

#include "base/span.h"

#include <sys/socket.h>

struct dns;

enum dns_answer { DNS_WAITING, DNS_FOUND, DNS_FAILED };

/* Asks for a host's TCP addresses with this port (decimal). */
struct dns *dns_ask(const char *host, const char *port);
/* DNS_FOUND: `at` is one of the addresses, the next one for each next `turn`. DNS_FAILED: `why` is
 * a text that stays. */
MUST_CHECK enum dns_answer dns_look(const struct dns *dns, uint32_t turn,
                                    struct sockaddr_storage *at, socklen_t *len, const char **why);
/* Also while it is still being looked up. NULL is ignored. */
void dns_free(struct dns *dns);

#endif
