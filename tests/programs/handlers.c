/* Handlers of signals in all places: nested, on a stack of their own, left by siglongjmp, in coroutines, in system calls that
   are repeated or broken off, and such as change where execution goes on. Prints the ranges of its stacks but for the first:
   "stack FIRST LAST". */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#define SIZE (64 << 10)

static volatile int sink;
static sigjmp_buf out;
static ucontext_t home, inner;
static int ends[2];

__attribute__((noinline)) static int work(int n) { return n < 2 ? n : work(n - 1) + work(n - 2); }

static void *stack_of(size_t size) {
    char *stack = aligned_alloc(4096, size);
    printf("stack %lu %lu\n", (unsigned long)(uintptr_t)stack, (unsigned long)(uintptr_t)(stack + size));
    return stack;
}

/* Where changed contexts go on. */
__attribute__((noinline)) static void landed(void) { sink += work(3); }
__attribute__((noinline)) static void elsewhere(void) {
    landed();
    siglongjmp(out, 1);
}

static void plain(int number) { sink += work(3) + number; }
static void other(int number) { sink += work(2) - number; }
static void nested(int number) {
    sink += work(2) + number;
    raise(SIGUSR1);
    sink += work(2);
}
static void jumps(int number) {
    sink += work(2) + number;
    siglongjmp(out, 1);
}
static void skips(int number, siginfo_t *information, void *context) {
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
    sink += work(2);
}
static void sends(int number, siginfo_t *information, void *context) {
    ucontext_t *changed = context;
    changed->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)elsewhere;
    /* As behind a call. */
    changed->uc_mcontext.gregs[REG_RSP] = ((changed->uc_mcontext.gregs[REG_RSP] - 256) & -16) - 8;
    sink += work(2);
}
static void switches(int number) {
    sink += work(2);
    swapcontext(&inner, &home);
    sink += work(2);
}
static void writes(int number) {
    sink += work(2) + number;
    if (write(ends[1], "x", 1) != 1) sink++;
}

static void handle(int number, void (*handler)(int), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(number, &action, 0);
}
static void handle_with(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = handler;
    action.sa_flags = flags | SA_SIGINFO;
    sigaction(number, &action, 0);
}

/* A system call that a signal breaks off, or that is repeated. */
__attribute__((noinline)) static void waits(int flags) {
    char got;
    handle(SIGALRM, writes, flags);
    struct itimerval soon = {{0, 0}, {0, 30000}};
    setitimer(ITIMER_REAL, &soon, 0);
    while (read(ends[0], &got, 1) < 0 && errno == EINTR)
        sink += work(2);
}

__attribute__((noinline)) static void traps(void) { __asm__ volatile("ud2"); }

__attribute__((noinline)) static void all(int flags) {
    handle(SIGUSR1, plain, flags);
    raise(SIGUSR1);
    sink += work(2);
    handle(SIGUSR2, nested, flags);
    raise(SIGUSR2);
    sink += work(2);
    /* Two at once: the second handler begins where the first is to begin. */
    sigset_t both, before;
    sigemptyset(&both);
    sigaddset(&both, SIGUSR1);
    sigaddset(&both, SIGHUP);
    handle(SIGHUP, other, flags);
    sigprocmask(SIG_BLOCK, &both, &before);
    raise(SIGUSR1);
    raise(SIGHUP);
    sigprocmask(SIG_SETMASK, &before, 0);
    sink += work(2);
    handle(SIGSEGV, jumps, flags | SA_NODEFER);
    if (sigsetjmp(out, 1) == 0) *(volatile int *)8 = work(2);
    sink += work(2);
    handle_with(SIGILL, skips, flags);
    traps();
    sink += work(2);
    handle_with(SIGILL, sends, flags | SA_NODEFER);
    if (sigsetjmp(out, 1) == 0) traps();
    sink += work(2);
    waits(flags);
    sink += work(2);
    waits(flags | SA_RESTART);
    sink += work(2);
}

static void routine(void) {
    for (int i = 0; i < 2; i++) {
        all(0);
        swapcontext(&inner, &home);
        handle(SIGUSR1, switches, SA_NODEFER);
        raise(SIGUSR1);
        swapcontext(&inner, &home);
    }
}

int main(int count, char **words) {
    if (pipe(ends) != 0) return 1;
    stack_t second = {.ss_sp = stack_of(SIZE), .ss_size = SIZE};
    sigaltstack(&second, 0);
    all(0);
    all(SA_ONSTACK);
    getcontext(&inner);
    inner.uc_stack.ss_sp = stack_of(SIZE);
    inner.uc_stack.ss_size = SIZE;
    inner.uc_link = &home;
    makecontext(&inner, routine, 0);
    for (int i = 0; i < 7; i++) {
        swapcontext(&home, &inner);
        sink += work(3);
    }
    return 0;
}
