/* What others wrote, on our terminal: cleaned, any bytes are UTF-8 without a control character,
 * with few marks on a letter, and clean already if cleaned again; measured piece by piece and row
 * by row they are as wide as in one, and no row is wider than it may be.
 *
 * The first byte says how wide, and whether there are lines.
 *
 * Covers: cli/chat_text.c. Longest input: 512.
 */
#include "cli/chat_text.h"

#include <locale.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_clean(struct span text, bool lines)
{
    while (text.len > 0) {
        uint32_t point;
        char again[4];
        size_t len = chat_text_decode(text, &point);
        assert(len >= 1 && len <= 4 && len <= text.len);
        assert((point >= 0x20 || (lines && point == '\n')) && !(point >= 0x7f && point < 0xa0));
        assert(point != 0x2028 && point != 0x2029 && !(point >= 0x202a && point <= 0x202e) &&
               !(point >= 0x2066 && point <= 0x2069));
        assert(chat_text_encode(point, again) == len && memcmp(again, text.at, len) == 0);
        text = span_after(text, len);
    }
}

static void check_pieces(struct span text)
{
    int columns = 0;
    for (struct span rest = text; rest.len > 0;) {
        struct chat_text_piece first = chat_text_first(rest), last = chat_text_last(rest);
        assert(first.bytes >= 1 && first.bytes <= rest.len && last.bytes >= 1);
        assert(last.bytes <= rest.len && first.columns >= 0 && first.columns <= 2);
        assert(first.bytes < rest.len || first.bytes == last.bytes);
        columns += first.columns;
        rest = span_after(rest, first.bytes);
    }
    assert(columns == chat_text_columns(text));
}

static void check_rows(struct span text, int columns)
{
    char shortened[64];
    struct span fit = chat_text_fit(text, columns);
    assert(fit.len <= text.len && chat_text_columns(fit) <= columns);
    chat_text_shorten(text, columns, shortened, sizeof shortened);
    assert(memchr(shortened, 0, sizeof shortened) != NULL);
    assert(chat_text_columns(span_text(shortened)) <= columns);
    for (struct span rest = text; rest.len > 0;) {
        size_t before = rest.len;
        struct span row = chat_text_row(&rest, columns);
        assert(rest.len < before); /* it gets on */
        assert(memchr(row.at, '\n', row.len) == NULL || row.len == 0);
        assert(chat_text_columns(row) <= columns ||
               (columns == 1 && chat_text_first(row).bytes == row.len));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool set;
    if (!set)
        set = setlocale(LC_CTYPE, "C.UTF-8") != NULL;
    assert(set);
    if (size < 1)
        return 0;
    bool lines = data[0] & 1;
    size_t len, again_len;
    char *clean = chat_text_clean(span_of(data + 1, size - 1), lines, &len);
    assert(clean != NULL && clean[len] == '\0');
    struct span text = span_of(clean, len);
    check_clean(text, lines);
    char *again = chat_text_clean(text, lines, &again_len);
    assert(again_len == len && memcmp(clean, again, len) == 0);
    check_pieces(text);
    check_rows(text, 1 + (data[0] >> 1) % 40);
    free(clean);
    free(again);
    return 0;
}
