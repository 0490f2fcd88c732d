/* Handlers that return, that jump out of faults, that repair a fault, and a timer. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <ucontext.h>

static sigjmp_buf out;
static volatile int handled;

static void jump_out(int signal, siginfo_t *information, void *context) { siglongjmp(out, 1); }
static void skip(int signal, siginfo_t *information, void *context) {
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
    handled++;
}
static void count(int signal) {
    handled++;
    if (signal == SIGALRM) raise(SIGUSR1);
}

int main(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_flags = SA_SIGINFO;
    action.sa_sigaction = jump_out;
    sigaction(SIGSEGV, &action, NULL);
    action.sa_sigaction = skip;
    sigaction(SIGILL, &action, NULL);
    action.sa_flags = 0;
    action.sa_handler = count;
    sigaction(SIGUSR1, &action, NULL);
    sigaction(SIGALRM, &action, NULL);
    for (int i = 0; i < 5; i++)
        if (sigsetjmp(out, 1) == 0) *(volatile int *)(8L * i) = 1;
    for (int i = 0; i < 5; i++)
        if (sigsetjmp(out, 1) == 0) ((void (*)(void))(16L * i))();
    __asm__ volatile("ud2");
    raise(SIGUSR1);
    struct itimerval timer = {{0, 2000}, {0, 2000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    while (handled < 12) {
    }
    /* Where each step takes long, nothing but the handler would run from here on. */
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    return 0;
}
