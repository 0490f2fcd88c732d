/* Executes a program by a descriptor: byfile HOW KIND PROGRAM ARGUMENT...
   HOW: fexecve, execveat, proc (/proc/self/fd/N), dev (/dev/fd/N), each with "-cloexec" behind it or not;
   or "self": byfile copies itself, deletes or hides the copy, and that executes /proc/self/exe.
   KIND: file (PROGRAM itself), deleted (a copy that is gone), memfd (a copy in memory). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

static int opened(const char *kind, const char *program, int cloexec) {
    int source = open(program, O_RDONLY | O_CLOEXEC);
    if (!strcmp(kind, "file")) {
        fcntl(source, F_SETFD, cloexec ? FD_CLOEXEC : 0);
        return source;
    }
    int copy, result;
    char name[] = "byfile-XXXXXX";
    if (!strcmp(kind, "memfd")) {
        result = copy = memfd_create("prog", 0);
    } else {
        copy = mkstemp(name);
        fchmod(copy, 0755);
    }
    off_t at = 0;
    while (sendfile(copy, source, &at, 1 << 20) > 0)
        ;
    close(source);
    if (strcmp(kind, "memfd")) {
        close(copy);
        result = open(name, O_RDONLY);
        unlink(name);
    }
    fcntl(result, F_SETFD, cloexec ? FD_CLOEXEC : 0);
    return result;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        /* Started by itself: once more, and then it is enough. */
        if (argc == 3 && !strcmp(argv[1], "again")) {
            char *words[] = {argv[0], "done", 0};
            execv("/proc/self/exe", words);
            printf("cannot run /proc/self/exe: %s\n", strerror(errno));
            return 8;
        }
        printf("%s %s\n", argv[0], argc > 1 ? argv[1] : "");
        fflush(stdout);
        return 5;
    }
    char *how = argv[1], *program = argv[3], path[64], *words[8] = {0};
    int cloexec = strstr(how, "-cloexec") != 0;
    if (!strncmp(how, "self", 4)) {
        program = "/proc/self/exe";
        words[0] = "itself", words[1] = "again", words[2] = "x";
    } else {
        for (int at = 3; at < argc && at < 10; at++)
            words[at - 3] = argv[at];
        words[0] = "zero";
    }
    int file = opened(argv[2], program, cloexec);
    /* Numbers below are the same with and without a recorder. */
    dup3(file, 50, cloexec ? O_CLOEXEC : 0);
    close(file);
    if (!strncmp(how, "fexecve", 7) || !strncmp(how, "self", 4)) {
        fexecve(50, words, environ);
    } else if (!strncmp(how, "execveat", 8)) {
        syscall(SYS_execveat, 50, "", words, environ, AT_EMPTY_PATH);
    } else {
        snprintf(path, sizeof path, !strncmp(how, "dev", 3) ? "/dev/fd/50" : "/proc/self/fd/50");
        execv(path, words);
    }
    printf("%s\n", strerror(errno));
    fflush(stdout);
    return 9;
}
