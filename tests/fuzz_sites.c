/* Sites as shards push them, from a script: put, found, removed, looked for in vain; their limits
 * hold, and an origin's number stays its own.
 *
 * Covers: edge/sites.c.
 */
#include "edge/sites.h"
#include "tests/script.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(struct script *script, struct sites *sites)
{
    size_t len;
    uint8_t *packed = script_packed(script, &lahar__link__v1__site__descriptor, &len);
    Lahar__Link__V1__Site *said = lahar__link__v1__site__unpack(NULL, len, packed);
    if (said != NULL && sites_put(sites, said)) {
        struct span id = span_of(said->id.data, said->id.len);
        const struct site *site = sites_find(sites, id);
        assert(sites_id_valid(id) && sites_revision(sites) >= said->revision);
        /* NULL: it was removed, and later than this was said. */
        assert(site == NULL || site->revision >= said->revision);
        if (site != NULL) {
            assert(site->key_count <= SITES_KEYS_MAX && site->origin_count <= SITES_ORIGINS_MAX);
            assert(sites_at(sites, site->index) == site);
        }
        script_hear(script, &said->base);
    }
    if (said != NULL)
        lahar__link__v1__site__free_unpacked(said, NULL);
    free(packed);
}

static void step(struct script *script, struct sites *sites, uint64_t *now_ms)
{
    uint8_t what = script_byte(script);
    struct span text;
    const struct site *site;
    switch (what % 6) {
    case 0:
    case 1:
        put(script, sites);
        break;
    case 2:
        text = script_text(script);
        sites_remove(sites, text, script_number(script));
        break;
    case 3:
        text = script_text(script);
        if (sites_id_valid(text)) {
            sites_missing(sites, text, *now_ms);
            assert(sites_is_missing(sites, text, *now_ms) || sites_find(sites, text) != NULL);
        }
        break;
    case 4:
        text = script_text(script);
        site = sites_find(sites, script_text(script));
        if (site != NULL)
            assert(sites_origin_allowed(site, 0) &&
                   (!site->any_origin || sites_origin_allowed(site, sites_origin(sites, text))));
        break;
    default:
        *now_ms += (uint64_t)what * 100;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct script script = {.rest = span_of(data, size)};
    static const char *const texts[] = {"game", "social", "https://game.example",
                                        "*",    "kid",    "0123456789abcdef0123456789abcdef"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        script_know_text(&script, span_text(texts[i]));
    struct sites *sites = sites_new();
    uint64_t now_ms = 1000000;
    while (!script_ended(&script))
        step(&script, sites, &now_ms);
    sites_free(sites);
    return 0;
}
