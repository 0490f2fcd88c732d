/* SIGTRAP in a program's own hands: traps CASE. Prints what its handler saw, and ends as it would alone.
   With several cases each runs in a child, and how that ended is printed. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

static volatile int seen, codes[64];
static sigjmp_buf back;
static volatile int jump;

static void handler(int signal, siginfo_t *information, void *context) {
    ucontext_t *frame = context;
    if (seen < 64)
        codes[seen] = information->si_code;
    seen++;
    /* A handler that single-steps gives up after some steps. */
    if (seen >= 12)
        frame->uc_mcontext.gregs[REG_EFL] &= ~0x100;
    if (jump)
        siglongjmp(back, 1);
}

static void handle(int flags) {
    struct sigaction action = {0};
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    sigaction(SIGTRAP, &action, 0);
}

static void say(const char *what) {
    struct sigaction action;
    sigset_t mask, pending;
    sigaction(SIGTRAP, 0, &action);
    sigprocmask(SIG_SETMASK, 0, &mask);
    sigpending(&pending);
    printf("%s: seen %d, codes", what, seen);
    for (int at = 0; at < seen && at < 64; at++)
        printf(" %d", codes[at]);
    printf(", action %s, blocked %d, pending %d\n",
           action.sa_handler == SIG_DFL ? "default" : action.sa_handler == SIG_IGN ? "ignore" : "handler",
           sigismember(&mask, SIGTRAP), sigismember(&pending, SIGTRAP));
    fflush(stdout);
}

static void block(int how) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTRAP);
    sigprocmask(how, &set, 0);
}

static void *thread(void *nothing) {
    say("thread");
    __asm__ volatile("int3");
    return 0;
}

static void *killer(void *target) {
    for (int at = 0; at < 3; at++) {
        int before = seen;
        pthread_kill(*(pthread_t *)target, SIGTRAP);
        while (seen == before)
            sched_yield();
    }
    return 0;
}

int main(int argc, char **argv) {
    char *name = argc > 1 ? argv[1] : "";
    for (int at = 1, status; argc > 2 && at < argc; at++) {
        if (!fork()) {
            name = argv[at], argc = 2;
            break;
        }
        wait(&status);
        printf("%s ended with %d\n", argv[at], WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
        fflush(stdout);
        if (at == argc - 1)
            return 0;
    }
#define CASE(text) if (!strcmp(name, text))
    CASE("int3") { handle(0); __asm__ volatile("int3; int3; int3"); }
    CASE("int3-long") { handle(0); __asm__ volatile(".byte 0xcd,3; .byte 0xcd,3"); }
    CASE("int1") { handle(0); __asm__ volatile(".byte 0xf1; nop; .byte 0xf1"); }
    CASE("raise") { handle(0); raise(SIGTRAP); raise(SIGTRAP); }
    CASE("kill") { handle(0); kill(getpid(), SIGTRAP); }
    CASE("nodefer") { handle(SA_NODEFER); __asm__ volatile("int3"); raise(SIGTRAP); }
    CASE("reset") { handle(SA_RESETHAND); __asm__ volatile("int3"); say("once"); __asm__ volatile("int3"); }
    CASE("no-handler") { say("before"); __asm__ volatile("int3"); }
    CASE("blocked-raise") {
        handle(0), block(SIG_BLOCK), raise(SIGTRAP), say("raised"), raise(SIGTRAP), say("again");
        block(SIG_UNBLOCK), say("unblocked");
    }
    CASE("blocked-int3") { handle(0), block(SIG_BLOCK), say("before"); __asm__ volatile("int3"); }
    CASE("blocked-wait") {
        sigset_t set;
        siginfo_t information;
        struct timespec none = {0, 0};
        handle(0), block(SIG_BLOCK), raise(SIGTRAP);
        sigemptyset(&set), sigaddset(&set, SIGTRAP);
        int got = sigtimedwait(&set, &information, &none);
        printf("waited %d from %d\n", got, information.si_pid == getpid());
        got = sigtimedwait(&set, &information, &none);
        printf("waited %d %s\n", got, strerror(errno));
    }
    CASE("suspend") {
        sigset_t set;
        handle(0), block(SIG_BLOCK), raise(SIGTRAP);
        sigfillset(&set), sigdelset(&set, SIGTRAP);
        printf("suspended %d %s\n", sigsuspend(&set), strerror(errno));
    }
    CASE("ignored-raise") { signal(SIGTRAP, SIG_IGN), raise(SIGTRAP), say("ignored"), signal(SIGTRAP, SIG_IGN); handle(0); raise(SIGTRAP); }
    CASE("ignored-int3") { signal(SIGTRAP, SIG_IGN), say("before"); __asm__ volatile("int3"); }
    CASE("ignored-exec") {
        signal(SIGTRAP, SIG_IGN), block(SIG_BLOCK);
        execl("/proc/self/exe", "traps", "inherited", (char *)0);
    }
    CASE("inherited") { say("inherited"); raise(SIGTRAP), say("raised"), block(SIG_UNBLOCK), say("unblocked"); }
    CASE("blocked-fork") {
        handle(0), block(SIG_BLOCK), raise(SIGTRAP);
        if (!fork()) { say("child"); block(SIG_UNBLOCK), say("child unblocked"); raise(SIGTRAP); say("child raised"); _exit(3); }
        int status;
        wait(&status), printf("child %d\n", status), say("parent");
        seen = 0;
        if (!fork()) { __asm__ volatile("int3"); _exit(3); }
        wait(&status), printf("child %d\n", WTERMSIG(status));
    }
    CASE("thread") {
        pthread_t one;
        handle(0), pthread_create(&one, 0, thread, 0), pthread_join(one, 0), say("joined");
        block(SIG_BLOCK), pthread_create(&one, 0, (void *)say, "blocked"), pthread_join(one, 0);
        block(SIG_UNBLOCK);
        __asm__ volatile("int3");
    }
    CASE("killed-thread") {
        pthread_t one, self = pthread_self();
        handle(0), pthread_create(&one, 0, killer, &self);
        while (seen < 3)
            ;
        pthread_join(one, 0);
    }
    CASE("longjmp") {
        jump = 1, handle(0);
        for (volatile int at = 0; at < 3; at++)
            if (!sigsetjmp(back, 1))
                __asm__ volatile("int3");
    }
    CASE("longjmp-blocked") {
        /* The mask is not restored: the second one finds the signal blocked. */
        jump = 1, handle(0);
        for (volatile int at = 0; at < 2; at++) {
            if (!sigsetjmp(back, 0))
                __asm__ volatile("int3");
            say("jumped");
        }
    }
    CASE("trap-flag") {
        handle(0);
        __asm__ volatile("pushf; orl $0x100, (%%rsp); popf; nop; nop; nop;"
                         "pushf; andl $~0x100, (%%rsp); popf; nop; nop" ::: "memory", "cc");
    }
    CASE("trap-flag-syscall") {
        handle(0);
        long number = SYS_getppid;
        __asm__ volatile("pushf; orl $0x100, (%%rsp); popf; syscall; nop;"
                         "pushf; andl $~0x100, (%%rsp); popf" : "+a"(number) :: "rcx", "r11", "memory", "cc");
    }
    CASE("trap-flag-long") { handle(0); __asm__ volatile("pushf; orl $0x100, (%%rsp); popf" ::: "memory", "cc"); for (volatile int at = 0; at < 20; at++); }
    CASE("flags") {
        unsigned long flags, saved;
        unsigned short shorter;
        long number = SYS_getppid;
        __asm__ volatile("pushf; pop %0; pushfw; popw %1" : "=r"(flags), "=r"(shorter)::"memory");
        __asm__ volatile("syscall; mov %%r11, %1" : "+a"(number), "=r"(saved)::"rcx", "r11", "memory");
        printf("trap flag %lu %d %lu\n", flags >> 8 & 1, shorter >> 8 & 1, saved >> 8 & 1);
        /* Flags that the program restores do not bring it in. */
        number = SYS_getppid;
        __asm__ volatile("pushf; popf; nop; syscall; pushf; popf; pushf; pop %0; mov %%r11, %1"
                         : "=r"(flags), "=r"(saved), "+a"(number)::"rcx", "r11", "memory");
        printf("trap flag %lu %lu\n", flags >> 8 & 1, saved >> 8 & 1);
        struct sigaction action = {0};
        action.sa_sigaction = handler, action.sa_flags = SA_SIGINFO, sigaction(SIGUSR1, &action, 0);
        number = SYS_tgkill;
        __asm__ volatile("pushf; popf; nop; syscall; pushf; pop %1"
                         : "+a"(number), "=r"(flags) : "D"(getpid()), "S"(gettid()), "d"(SIGUSR1) : "rcx", "r11", "memory");
        printf("trap flag %lu\n", flags >> 8 & 1);
    }
    CASE("other-signal") {
        /* A handler of another signal runs with SIGTRAP blocked, and its frame keeps the mask. */
        struct sigaction action = {0};
        action.sa_handler = (void (*)(int))say;
        handle(0);
        action.sa_handler = SIG_IGN, sigaction(SIGUSR1, &action, 0), block(SIG_BLOCK), raise(SIGUSR1), say("ignored");
        action.sa_handler = SIG_DFL, sigaction(SIGCHLD, &action, 0), raise(SIGCHLD), say("default");
        block(SIG_UNBLOCK);
        action.sa_sigaction = handler, action.sa_flags = SA_SIGINFO, sigaddset(&action.sa_mask, SIGTRAP);
        sigaction(SIGUSR1, &action, 0), raise(SIGUSR1), say("handled");
        block(SIG_BLOCK), raise(SIGUSR1), say("blocked"), block(SIG_UNBLOCK);
        __asm__ volatile("int3");
    }
    CASE("restart") {
        /* A system call that a signal interrupts, with the signal blocked. */
        struct sigaction action = {0};
        int pipes[2];
        char byte;
        action.sa_sigaction = handler, action.sa_flags = SA_SIGINFO | SA_RESTART, sigaction(SIGALRM, &action, 0);
        handle(0), block(SIG_BLOCK), pipe(pipes);
        if (!fork()) { usleep(200000), kill(getppid(), SIGALRM), kill(getppid(), SIGCHLD), usleep(200000), write(pipes[1], "x", 1), _exit(0); }
        printf("read %zd\n", read(pipes[0], &byte, 1)), say("read");
        block(SIG_UNBLOCK);
        __asm__ volatile("int3");
    }
    say("end");
    return seen;
}
