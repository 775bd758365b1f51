/* page: lahar-bench report OUT.html RESULT.jsonl...: result objects as one self-contained page.
 *
 * A result file has one JSON object a line, as lahar-bench --json prints it ("lahar_bench":1). One
 * with "lahar_bench_about":1 says what the page is about: its "title" and "text" stand at the head,
 * all other members (texts, lists of texts, objects of texts) below it, as the machine, the
 * versions and the commands.
 */
#ifndef BENCH_PAGE_H
#define BENCH_PAGE_H

#include "base/span.h"

#include <stdio.h>

/* The page of the results in `files`; NULL if one cannot be read, which `errors` has said with file
 * and line. To be freed. */
char *page_make(const char *const *files, size_t count, FILE *errors);

/* The command; `arguments` are what follows "report". Returns the exit code. */
int page_run(int count, char **arguments);

#endif
