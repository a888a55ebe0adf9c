/* Runs a fuzz target on every file of a corpus folder: replay FOLDER... */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>

static int replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    uint8_t *data = NULL;
    size_t size = 0, capacity = 0;
    for (;;) {
        if (size == capacity) {
            capacity = capacity * 2 + 4096;
            uint8_t *grown = realloc(data, capacity);
            if (grown == NULL)
                break;
            data = grown;
        }
        size_t n = fread(data + size, 1, capacity - size, f);
        if (n == 0)
            break;
        size += n;
    }
    int result = ferror(f) != 0 || feof(f) == 0 ? -1 : 0;
    fclose(f);
    if (result == 0) {
        /* a block of its exact size: a sanitizer sees one byte too far */
        uint8_t *exact = malloc(size > 0 ? size : 1);
        if (exact != NULL && size > 0)
            memcpy(exact, data, size);
        result = exact != NULL ? LLVMFuzzerTestOneInput(exact, size) : -1;
        free(exact);
    }
    free(data);
    return result;
}

/* Returns how many files were run, or -1. */
static int replay_folder(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    int count = 0;
    struct dirent *entry;
    while (count >= 0 && (entry = readdir(folder)) != NULL) {
        char name[4096];
        if (entry->d_name[0] == '.')
            continue;
        int n = snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (n < 0 || (size_t)n >= sizeof(name) || replay_file(name) < 0) {
            fprintf(stderr, "%s/%s: failed\n", path, entry->d_name);
            count = -1;
        } else {
            count++;
        }
    }
    closedir(folder);
    return count;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FOLDER...\n", argv[0]);
        return 64;
    }
    for (int i = 1; i < argc; i++) {
        int count = replay_folder(argv[i]);
        if (count <= 0) {
            fprintf(stderr, "%s: %s\n", argv[i], count == 0 ? "no files" : "failed");
            return 1;
        }
        printf("%s: %d files\n", argv[i], count);
    }
    return 0;
}
