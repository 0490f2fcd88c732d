/* Maps files of code over one another and calls them: remaps FILE FILE CASE...
   Each file has three pages, and each page: mov $N, %eax; ret; with N 1 and 2, and behind 64 bytes the same
   with 7 in both files. For the case "libraries", the files are libraries with a function "answer".
   Prints what the calls return, a line for each case. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define EXECUTABLE (PROT_READ | PROT_EXEC)
typedef int function(void);

static int files[2];
static char *const place = (char *)0x7e0000000000;
static volatile int turn;

static int call(char *at) { return ((function *)at)(); }

static char *map(char *at, int file, size_t size) {
    return mmap(at, size, EXECUTABLE, MAP_PRIVATE | MAP_FIXED, files[file], 0);
}

static void *caller(void *nothing) {
    for (int at = 1; at <= 4; at++) {
        while (turn < at)
            sched_yield();
        printf("%d ", call(place));
        turn = -at;
        while (turn == -at)
            sched_yield();
    }
    return 0;
}

static int library(const char *path) {
    void *opened = dlopen(path, RTLD_NOW);
    int (*answer)(void) = dlsym(opened, "answer");
    int result = answer();
    printf("(%lx) ", (unsigned long)answer);
    dlclose(opened);
    return result;
}

static void run(const char *name, char **argv) {
#define CASE(text) if (!strcmp(name, text))
    CASE("libraries") {
        for (int at = 0; at < 4; at++)
            printf("%d ", library(argv[1 + at % 2]));
    }
    CASE("unmap") {
        for (int at = 0; at < 4; at++) {
            map(place, at % 2, PAGE);
            printf("%d ", call(place));
            munmap(place, PAGE);
        }
    }
    CASE("over") for (int at = 0; at < 4; at++) map(place, at % 2, PAGE), printf("%d ", call(place));
    CASE("part") {
        /* The middle of three pages, and back. */
        map(place, 0, 3 * PAGE);
        for (int at = 0; at < 3; at++) printf("%d ", call(place + at * PAGE));
        mmap(place + PAGE, PAGE, EXECUTABLE, MAP_PRIVATE | MAP_FIXED, files[1], PAGE);
        for (int at = 0; at < 3; at++) printf("%d ", call(place + at * PAGE));
        mmap(place + PAGE, PAGE, EXECUTABLE, MAP_PRIVATE | MAP_FIXED, files[0], PAGE);
        for (int at = 0; at < 3; at++) printf("%d ", call(place + at * PAGE));
    }
    CASE("same-bytes") {
        /* Only what lies behind the first instruction differs: nothing of the bytes says that it is another file. */
        for (int at = 0; at < 4; at++) {
            map(place, at % 2, 3 * PAGE);
            printf("%d ", call(place + 64));
        }
    }
    CASE("move") {
        map(place, 0, PAGE), map(place + 16 * PAGE, 1, PAGE);
        printf("%d ", call(place)), printf("%d ", call(place + 16 * PAGE));
        mremap(place + 16 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place);
        printf("%d ", call(place));
        mremap(place, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place + 16 * PAGE);
        map(place, 0, PAGE);
        printf("%d ", call(place)), printf("%d ", call(place + 16 * PAGE));
    }
    CASE("protect") {
        /* Not executable when it is mapped. */
        for (int at = 0; at < 4; at++) {
            mmap(place, PAGE, PROT_READ, MAP_PRIVATE | MAP_FIXED, files[at % 2], 0);
            mprotect(place, PAGE, EXECUTABLE);
            printf("%d ", call(place));
        }
    }
    CASE("failed") {
        map(place, 0, PAGE);
        printf("%d ", call(place));
        int failed = mmap(place, PAGE, EXECUTABLE, MAP_PRIVATE | MAP_FIXED, -1, 0) == MAP_FAILED;
        failed += mmap(place, PAGE, EXECUTABLE, MAP_PRIVATE | MAP_FIXED_NOREPLACE, files[1], 0) == MAP_FAILED;
        failed += munmap(place + 1, PAGE) != 0;
        failed += mprotect(place + 1, PAGE, PROT_NONE) != 0;
        failed += mremap(place, PAGE, 1UL << 60, 0) == MAP_FAILED;
        printf("%d %d ", failed, call(place));
        map(place, 1, PAGE);
        printf("%d ", call(place));
    }
    CASE("anonymous") {
        map(place, 0, PAGE);
        printf("%d ", call(place));
        mmap(place, PAGE, EXECUTABLE | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        memcpy(place, "\xb8\3\0\0\0\xc3", 6);
        printf("%d ", call(place));
        map(place, 1, PAGE);
        printf("%d ", call(place));
    }
    CASE("thread") {
        pthread_t one;
        pthread_create(&one, 0, caller, 0);
        for (int at = 1; at <= 4; at++) {
            map(place, at % 2, PAGE);
            turn = at;
            while (turn != -at)
                sched_yield();
        }
        turn = 0;
        pthread_join(one, 0);
    }
    CASE("fork") {
        map(place, 0, PAGE);
        printf("%d ", call(place));
        fflush(stdout);
        if (!fork()) {
            printf("%d ", call(place));
            map(place, 1, PAGE);
            printf("%d ", call(place));
            fflush(stdout);
            _exit(0);
        }
        wait(0);
        printf("%d ", call(place));
    }
    CASE("shared-memory") {
        /* Segments of System V, of which both give the same name. */
        for (int at = 0; at < 2; at++) {
            int segment = shmget(IPC_PRIVATE, PAGE, 0700);
            char *writable = shmat(segment, 0, 0);
            memcpy(writable, at ? "\xb8\2\0\0\0\xc3" : "\xb8\1\0\0\0\xc3", 6);
            char *code = shmat(segment, place, SHM_EXEC | SHM_RDONLY);
            printf("%d ", call(code));
            shmdt(code), shmdt(writable), shmctl(segment, IPC_RMID, 0);
        }
        map(place, 0, PAGE);
        printf("%d ", call(place));
    }
    CASE("heap") {
        char *heap = (char *)(((unsigned long)sbrk(0) + PAGE - 1) & -PAGE);
        brk(heap + PAGE), mprotect(heap, PAGE, EXECUTABLE | PROT_WRITE);
        memcpy(heap, "\xb8\3\0\0\0\xc3", 6);
        printf("%d ", call(heap));
        brk(heap);
        map(heap, 0, PAGE);
        printf("%d ", call(heap));
        munmap(heap, PAGE), brk(heap + PAGE), mprotect(heap, PAGE, EXECUTABLE | PROT_WRITE);
        memcpy(heap, "\xb8\4\0\0\0\xc3", 6);
        printf("%d ", call(heap));
    }
    puts("");
    fflush(stdout);
}

int main(int argc, char **argv) {
    files[0] = open(argv[1], O_RDWR), files[1] = open(argv[2], O_RDWR);
    for (int at = 3; at < argc; at++) {
        run(argv[at], argv);
        munmap(place, 32 * PAGE);
    }
    return 0;
}
