/* Changes code in every way there is and runs it again. Prints for each way the address, and "old" where the old code
   ran although memory holds the new one: no processor does that. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define READ PROT_READ
#define WRITE (PROT_READ | PROT_WRITE)
#define EXECUTE (PROT_READ | PROT_EXEC)
#define ALL (PROT_READ | PROT_WRITE | PROT_EXEC)

static const unsigned char before[6] = {0xb8, 1, 0, 0, 0, 0xc3}, after[6] = {0xb8, 2, 0, 0, 0, 0xc3};

static int run(unsigned char *code) { return ((int (*)(void))code)(); }

static void say(const char *way, unsigned char *code) {
    int result = run(code), memory = code[1];
    printf("%s %p %s\n", way, (void *)code, result == memory ? "new" : "old");
}

static int file(const unsigned char *content) {
    int made = memfd_create("jit", 0);
    ftruncate(made, PAGE);
    pwrite(made, content, 6, 0);
    return made;
}

static unsigned char *map(int protection, int flags, int made) {
    return mmap(0, PAGE, protection, flags | (made < 0 ? MAP_ANONYMOUS : 0), made, 0);
}

int main(void) {
    unsigned char *code, *other;
    int made, new = file(after);
    struct iovec place = {0, 6};

    made = file(before), other = map(WRITE, MAP_SHARED, made), code = map(EXECUTE, MAP_SHARED, made);
    run(code), memcpy(other, after, 6), say("two shared mappings", code);

    made = file(before), code = map(EXECUTE, MAP_SHARED, made);
    run(code), other = map(WRITE, MAP_SHARED, made), memcpy(other, after, 6), say("a mapping made later", code);

    made = file(before), code = map(EXECUTE, MAP_PRIVATE, made), run(code), other = map(READ, MAP_SHARED, made);
    mprotect(other, PAGE, WRITE), memcpy(other, after, 6), say("private code of a file mapped shared", code);

    made = file(before), code = map(EXECUTE, MAP_SHARED, made);
    run(code), pwrite(made, after, 6, 0), say("a shared file written to", code);

    made = file(before), code = map(EXECUTE, MAP_PRIVATE, made);
    run(code), pwrite(made, after, 6, 0), say("a private file written to", code);

    made = file(before), code = map(EXECUTE, MAP_SHARED, made);
    run(code), ftruncate(made, 0), ftruncate(made, PAGE), pwrite(made, after, 6, 0), say("a file cut", code);

    made = file(before), code = map(EXECUTE, MAP_SHARED, made), run(code);
    if (!fork()) {
        other = map(WRITE, MAP_SHARED, made), memcpy(other, after, 6);
        _exit(0);
    }
    wait(0), say("another process", code);

    made = file(before), code = map(ALL, MAP_SHARED, made), other = map(ALL, MAP_SHARED, made);
    run(code), run(other), memcpy(other, after, 6), run(other), say("two executable mappings", code);

    code = map(ALL, MAP_PRIVATE, new), memcpy(code, before, 6);
    run(code), madvise(code, PAGE, MADV_DONTNEED), say("memory dropped", code);

    code = map(ALL, MAP_PRIVATE, -1), memcpy(code, before, 6);
    run(code), memcpy(code, after, 6), say("its own address", code);

    code = map(WRITE, MAP_PRIVATE, -1), memcpy(code, before, 6), mprotect(code, PAGE, EXECUTE), run(code);
    mprotect(code, PAGE, WRITE), memcpy(code, after, 6), mprotect(code, PAGE, EXECUTE), say("protection", code);

    code = map(ALL, MAP_PRIVATE, -1), memcpy(code, before, 6), place.iov_base = code;
    run(code), lseek(new, 0, SEEK_SET), read(new, code, 6), say("read", code);
    memcpy(code, before, 6), run(code), preadv(new, &place, 1, 0), say("preadv", code);

    code = map(WRITE, MAP_PRIVATE, -1), memcpy(code, before, 6), mprotect(code, PAGE, EXECUTE), run(code);
    other = map(WRITE, MAP_PRIVATE, -1), memcpy(other, after, 6), mprotect(other, PAGE, EXECUTE);
    mremap(other, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, code), say("moved there", code);

    made = file(before), code = map(EXECUTE, MAP_PRIVATE, made), run(code), munmap(code, PAGE);
    mmap(code, PAGE, EXECUTE, MAP_PRIVATE | MAP_FIXED, new, 0), say("mapped there", code);

    code = map(WRITE, MAP_PRIVATE, -1), memcpy(code, before, 6), mprotect(code, PAGE, EXECUTE), run(code);
    pwrite(open("/proc/self/mem", O_RDWR), after, 6, (off_t)code), say("memory as a file", code);

    made = openat(open("/proc/self", O_RDONLY | O_DIRECTORY), "mem", O_RDWR);
    pwrite(made, before, 6, (off_t)code), say("memory by a relative name", code);

    struct open_how how = {.flags = O_RDWR};
    made = syscall(SYS_openat2, AT_FDCWD, "/proc/self/mem", &how, sizeof how);
    pwrite(made, after, 6, (off_t)code), say("memory by openat2", code);

    struct iovec from = {(void *)before, 6}, to = {code, 6};
    syscall(SYS_process_vm_writev, getpid(), &from, 1, &to, 1, 0), say("process_vm_writev", code);
    return 0;
}
