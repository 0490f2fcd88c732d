// Loads two libraries, one after the other; most loaders put the second where the first one was.
#include <dlfcn.h>
#include <stdio.h>

static int call(const char *path, const char *name, int argument)
{
    void *library = dlopen(path, RTLD_NOW);
    if (library == NULL) {
        puts(dlerror());
        return -1;
    }
    int (*function)(int) = (int (*)(int))dlsym(library, name);
    int result = function(argument);
    dlclose(library);
    return result;
}

int main(int argc, char **argv)
{
    if (argc < 3) return 2;
    int sum = 0;
    for (int round = 0; round < 2; round++) {
        sum += call(argv[1], "first", 3 + round);
        sum += call(argv[2], "second", 4 + round);
    }
    return sum == 0;
}
