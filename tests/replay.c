/* replay: runs a fuzz target over the files of a folder, so that what a fuzzer once found stays
 * found.
 */
#include "base/span.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void replay(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        exit(1);
    }
    fseek(file, 0, SEEK_END);
    size_t len = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(len + 1);
    assert(bytes != NULL);
    bool whole = fread(bytes, 1, len, file) == len;
    fclose(file);
    /* Of exactly its size, so that the address sanitizer sees a read past the end. */
    uint8_t *input = malloc(len);
    assert(whole && (input != NULL || len == 0));
    if (len > 0)
        memcpy(input, bytes, len);
    free(bytes);
    LLVMFuzzerTestOneInput(input, len);
    free(input);
}

int main(int argc, char **argv)
{
    size_t seeds = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        if (!dir) {
            perror(argv[i]);
            return 1;
        }
        for (struct dirent *entry; (entry = readdir(dir));) {
            if (entry->d_name[0] == '.')
                continue;
            replay(argv[i], entry->d_name);
            seeds++;
        }
        closedir(dir);
    }
    printf("%zu inputs replayed\n", seeds);
    return seeds == 0; /* no corpus: nothing was checked */
}
