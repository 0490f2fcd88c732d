/* Everything that makes stacks hard: recursion, longjmp, signals, threads, coroutines, tail calls. Prints the ranges of
   its stacks but for the first: "stack FIRST LAST". */
#define _GNU_SOURCE
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define SIZE (256 << 10)
#define COROUTINES 4

static volatile int sink;

static void *stack_of(size_t size) {
    char *stack = aligned_alloc(4096, size);
    printf("stack %lu %lu\n", (unsigned long)(uintptr_t)stack, (unsigned long)(uintptr_t)(stack + size));
    return stack;
}

__attribute__((noinline)) static int fib(int n) {
    if (n < 2)
        return n;
    return fib(n - 1) + fib(n - 2);
}

/* Tail calls, direct and through a pointer. */
__attribute__((noinline)) static int last(int n) { return fib(n) + 1; }
static int (*volatile next)(int) = last;
__attribute__((noinline)) static int through(int n) { return next(n - 1); }
__attribute__((noinline)) static int first(int n) { return through(n - 1); }

/* longjmp over several frames, also in a function that calls itself. */
static jmp_buf *place;
__attribute__((noinline)) static int jump_from(int depth) {
    if (depth == 0)
        longjmp(*place, 1);
    int result = jump_from(depth - 1);
    sink += result;
    return result + 1;
}
__attribute__((noinline)) static int nested(int depth) {
    jmp_buf mine, *before = place;
    int result = 0;
    if (depth > 0)
        result = nested(depth - 1);
    place = &mine;
    if (setjmp(mine) == 0)
        jump_from(3);
    else
        result += fib(4);
    place = before;
    return result;
}

/* Signals: to a handler on this stack and on another one, one inside another, and out of a handler. */
static sigjmp_buf out;
static void on_usr1(int number) {
    sink += fib(3) + number;
    if (sink % 2)
        raise(SIGUSR2);
}
static void on_usr2(int number) { sink += fib(2) + number; }
static void on_fault(int number) {
    sink += fib(3) + number;
    siglongjmp(out, 1);
}
static void handle(int number, void (*handler)(int), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(number, &action, 0);
}
__attribute__((noinline)) static void signals(void) {
    stack_t other = {.ss_sp = stack_of(SIZE), .ss_size = SIZE};
    sigaltstack(&other, 0);
    handle(SIGUSR1, on_usr1, 0);
    handle(SIGUSR2, on_usr2, SA_ONSTACK);
    handle(SIGSEGV, on_fault, SA_NODEFER);
    for (int i = 0; i < 3; i++) {
        raise(SIGUSR1);
        fib(3);
        raise(SIGUSR2);
        if (sigsetjmp(out, 1) == 0)
            *(volatile int *)8 = fib(2);
        fib(3);
    }
    stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, 0);
}

/* swapcontext, each coroutine as deep as its number. */
static ucontext_t home, contexts[COROUTINES];
__attribute__((noinline)) static void yield_at(int number, int depth) {
    if (depth > 0)
        yield_at(number, depth - 1);
    else
        swapcontext(&contexts[number], &home);
    sink += fib(3);
}
static void coroutine(int number) {
    for (int i = 0; i < 5; i++) {
        fib(3 + number % 2);
        yield_at(number, number);
    }
}
__attribute__((noinline)) static void coroutines(void) {
    for (int number = 0; number < COROUTINES; number++) {
        getcontext(&contexts[number]);
        contexts[number].uc_stack.ss_sp = stack_of(SIZE);
        contexts[number].uc_stack.ss_size = SIZE;
        contexts[number].uc_link = &home;
        makecontext(&contexts[number], (void (*)(void))coroutine, 1, number);
    }
    for (int round = 0; round < 6; round++)
        for (int number = 0; number < COROUTINES; number++) {
            swapcontext(&home, &contexts[number]);
            fib(2);
        }
}

/* A switch by hand. */
struct side {
    void *stack;
};
void change(struct side *from, struct side *to);
__asm__("change:\n"
        "  push %rbp\n  push %rbx\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
        "  mov %rsp, (%rdi)\n"
        "  mov (%rsi), %rsp\n"
        "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbx\n  pop %rbp\n"
        "  ret\n");
static struct side here, there[2];
static void consumer(void) {
    for (;;) {
        sink += fib(4);
        change(&there[0], &here);
        sink += first(5);
    }
}
static void producer(void) {
    for (;;) {
        sink += first(4);
        change(&there[1], &there[0]);
    }
}
static void prepare(struct side *side, void (*entry)(void)) {
    char *stack = stack_of(SIZE);
    void **top = (void **)(stack + SIZE - 64);
    top[1] = 0;
    top[0] = (void *)entry;
    memset(top - 6, 0, 6 * sizeof *top);
    side->stack = top - 6;
}
__attribute__((noinline)) static void switches(void) {
    prepare(&there[0], consumer);
    prepare(&there[1], producer);
    for (int i = 0; i < 6; i++) {
        change(&here, &there[0]);
        fib(3);
        change(&here, &there[1]);
    }
}

/* Thunks: a jump made of a return, a call whose address is popped, and a return through a register. */
int thunk(int (*function)(int), int argument);
__asm__("thunk:\n"
        "  mov %rdi, %rax\n  mov %esi, %edi\n"
        "  call 1f\n"
        "2: pause\n  jmp 2b\n"
        "1: mov %rax, (%rsp)\n  ret\n");
int pushed(int (*function)(int), int argument);
__asm__("pushed:\n"
        "  mov %rdi, %rax\n  mov %esi, %edi\n"
        "  push %rax\n  ret\n");
int here_is(void);
__asm__("here_is:\n"
        "  call 1f\n  nop\n"
        "1: pop %rax\n"
        "  pop %rcx\n  jmp *%rcx\n");
__attribute__((noinline)) static void thunks(void) {
    for (int i = 0; i < 3; i++) {
        sink += thunk(fib, 4);
        sink += pushed(fib, 4);
        sink += here_is();
    }
}

static int compare(const void *one, const void *other) { return fib(2) + *(const int *)one - *(const int *)other; }

static void *work(void *number) {
    for (int i = 0; i < 3; i++)
        sink += fib(4 + (int)(intptr_t)number) + nested(1);
    return 0;
}

int main(int count, char **words) {
    (void)words;
    setvbuf(stdout, 0, _IONBF, 0);
    for (int i = 0; i < 1 + (count > 1); i++) {
        int numbers[] = {5, 2, 8, 1, 9, 3};
        sink += fib(6);
        sink += first(6);
        sink += nested(3);
        qsort(numbers, 6, sizeof numbers[0], compare);
        thunks();
        signals();
        coroutines();
        switches();
    }
    if (count > 1) {
        pthread_t threads[2];
        pthread_create(&threads[0], 0, work, (void *)0);
        pthread_join(threads[0], 0);
        pthread_create(&threads[1], 0, work, (void *)1);
        pthread_join(threads[1], 0);
    }
    return 0;
}
