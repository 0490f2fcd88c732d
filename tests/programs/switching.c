/* Stacks that a scheduler switches between at random: by contexts, by jumps and by hand, also from inside handlers of
   signals, from two threads one after the other. Coroutines wait at the same places with other callers. The words are a
   seed and how many switches; with a third one, two threads run them. Prints the ranges of stacks: "stack FIRST LAST". */
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
#define COUNT 6
#define HOME COUNT

static uint64_t state;
static volatile int sink;
static int left;

static unsigned below(unsigned end) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (unsigned)(state >> 33) % end;
}

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

/* Two switches by hand: one ends in a return, one in a jump. */
void change(void **from, void *to);
void change_by_jump(void **from, void *to);
__asm__("change:\n"
        "  push %rbp\n  push %rbx\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
        "  mov %rsp, (%rdi)\n  mov %rsi, %rsp\n"
        "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbx\n  pop %rbp\n"
        "  ret\n"
        "change_by_jump:\n"
        "  push %rbp\n  push %rbx\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
        "  mov %rsp, (%rdi)\n  mov %rsi, %rsp\n"
        "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbx\n  pop %rbp\n"
        "  pop %rcx\n  jmp *%rcx\n");

/* Coroutine `number` is left in one of three ways, and goes on in the same way. */
enum way { CONTEXT, JUMP, HAND, OVER };
static struct side {
    enum way way;
    ucontext_t context;
    jmp_buf jump;
    void *hand;
} sides[COUNT + 1];
static int current = HOME;

static void resume(struct side *from, int number) {
    struct side *to = &sides[number];
    current = number;
    if (to->way == CONTEXT)
        setcontext(&to->context);
    else if (to->way == JUMP)
        longjmp(to->jump, 1);
    else if (below(2))
        change(&from->hand, to->hand);
    else
        change_by_jump(&from->hand, to->hand);
}

__attribute__((noinline)) static void go_by_context(int number) {
    struct side *mine = &sides[current], *to = &sides[number];
    mine->way = CONTEXT;
    current = number;
    swapcontext(&mine->context, &to->context);
}
__attribute__((noinline)) static void go_by_jump(int number) {
    struct side *mine = &sides[current];
    mine->way = JUMP;
    if (_setjmp(mine->jump) == 0)
        resume(mine, number);
}
__attribute__((noinline)) static void go_by_hand(int number) {
    struct side *mine = &sides[current];
    mine->way = HAND;
    resume(mine, number);
}
/* Whatever the other one waits for. */
__attribute__((noinline)) static void go_to(int number) {
    if (left-- <= 0)
        number = HOME;
    if (number == current)
        return;
    switch (sides[number].way) {
    case CONTEXT:
        go_by_context(number);
        break;
    case JUMP:
        go_by_jump(number);
        break;
    case HAND:
        go_by_hand(number);
        break;
    case OVER:
        break;
    }
}
static int anywhere(void) { return below(3) ? HOME : (int)below(COUNT); }

/* longjmp in a frame of its own, over others. */
static jmp_buf place;
__attribute__((noinline)) static int jump_from(int depth) {
    if (depth == 0)
        longjmp(place, 1);
    int result = jump_from(depth - 1);
    sink += result;
    return result + 1;
}
__attribute__((noinline)) static int attempt(int depth) {
    if (_setjmp(place) == 0)
        sink += jump_from(depth);
    return fib(2);
}

static void on_usr1(int number) {
    sink += fib(2) + number;
    go_to(anywhere());
    sink += fib(1);
}
static void on_usr2(int number) { sink += fib(2) + number; }

/* Ways to wait: the same calls, with other callers. */
__attribute__((noinline)) static void deeper(int depth) {
    if (depth > 0)
        deeper(depth - 1);
    else
        go_to(anywhere());
    sink++;
}
__attribute__((noinline)) static void one_way(int depth) { deeper(depth), sink++; }
__attribute__((noinline)) static void another_way(int depth) { deeper(depth), sink--; }
__attribute__((noinline)) static void some_work(void) {
    switch (below(6)) {
    case 0:
        sink += attempt(below(3));
        break;
    case 1:
        raise(SIGUSR1);
        break;
    case 2:
        raise(SIGUSR2);
        break;
    default:
        sink += fib(3);
    }
}
static void worker(int number) {
    for (int rounds = below(8); rounds >= 0; rounds--) {
        some_work();
        if (number % 2)
            one_way(below(3));
        else
            another_way(below(3));
    }
    sides[number].way = OVER;
    for (;;)
        go_to(HOME);
}
static void other_worker(int number) {
    another_way(number % 3);
    worker(number);
}

/* A way in for stacks that are made by hand. */
static void begin(void) { worker(current); }

static void prepare(int number) {
    struct side *side = &sides[number];
    char *stack = stack_of(SIZE);
    if (number % 3 == 2) {
        void **top = (void **)(stack + SIZE - 64);
        top[1] = 0;
        top[0] = (void *)begin;
        memset(top - 6, 0, 6 * sizeof *top);
        side->hand = top - 6;
        side->way = HAND;
        return;
    }
    getcontext(&side->context);
    side->context.uc_stack.ss_sp = stack;
    side->context.uc_stack.ss_size = SIZE;
    side->context.uc_link = 0;
    makecontext(&side->context, (void (*)(void))(number % 3 ? other_worker : worker), 1, number);
    side->way = CONTEXT;
}

static void handle(int number, void (*handler)(int), int flags) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = handler;
    action.sa_flags = flags;
    sigaction(number, &action, 0);
}

__attribute__((noinline)) static void schedule(int switches) {
    left = switches;
    current = HOME;
    while (left > 0) {
        int number = below(COUNT);
        if (sides[number].way == OVER)
            left--;
        go_to(number);
        sink += fib(2);
    }
}

static void *run(void *switches) {
    schedule((int)(intptr_t)switches);
    return 0;
}

int main(int count, char **words) {
    setvbuf(stdout, 0, _IONBF, 0);
    state = 88172645463325252ull + 2654435761ull * (count > 1 ? strtoull(words[1], 0, 10) : 1);
    int switches = count > 2 ? atoi(words[2]) : 100;
    stack_t other = {.ss_sp = stack_of(SIZE), .ss_size = SIZE};
    sigaltstack(&other, 0);
    handle(SIGUSR1, on_usr1, SA_NODEFER);
    handle(SIGUSR2, on_usr2, SA_NODEFER | (below(2) ? SA_ONSTACK : 0));
    for (int number = 0; number < COUNT; number++)
        prepare(number);
    for (int thread = 0; count > 3 && thread < 2; thread++) {
        pthread_t one;
        pthread_create(&one, 0, run, (void *)(intptr_t)switches);
        pthread_join(one, 0);
    }
    if (count <= 3)
        schedule(switches);
    return 0;
}
