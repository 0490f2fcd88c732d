// A parent, a child that stays the same program, and one that becomes another program.
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline)) static int sum(int count)
{
    volatile int total = 0;
    for (int number = 0; number < count; number++) total += number;
    return total;
}

__attribute__((noinline)) static int prepare(int count) { return sum(count) + sum(count / 2); }

int main(int argc, char **argv)
{
    prepare(10);
    if (fork() == 0) {
        prepare(20);
        char *text = strdup("child");
        int length = (int)strlen(text);
        free(text);
        _exit(length != 5);
    }
    if (fork() == 0) {
        prepare(30);
        execl(argc > 1 ? argv[1] : "/bin/true", "other", (char *)NULL);
        _exit(1);
    }
    while (wait(NULL) > 0) {}
    return prepare(40) & 0;
}
