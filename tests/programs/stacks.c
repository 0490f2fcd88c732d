/* Stacks of many shapes: recursion, callbacks from libc, signals on a stack of their own, realigned frames,
   variable-length arrays, functions that never return, stubs of the procedure linkage table. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char signal_stack[65536];
static volatile int total;
static jmp_buf back;

static inline __attribute__((always_inline)) int mixed(int a, int b) { return a * 31 + (b ^ a >> 3); }
static inline __attribute__((always_inline)) int twice(int a) { return mixed(a, total) + mixed(total, a); }

__attribute__((noinline)) int leaf(int a) { return a * 7 + total; }

__attribute__((noinline)) int variadic(const char *format, ...) {
    char text[64];
    va_list list;
    va_start(list, format);
    int size = vsnprintf(text, sizeof text, format, list);
    va_end(list);
    return size + text[0];
}

__attribute__((noinline)) int realigned(int a) {
    double block[8] __attribute__((aligned(64)));
    for (int i = 0; i < 8; i++)
        block[i] = a * i;
    total += leaf(a);
    return (int)block[a & 7] + variadic("%d %s %f", a, "text", block[3]);
}

__attribute__((noinline)) int variable(int size) {
    int rows[size + 1];
    memset(rows, size, sizeof rows);
    total += twice(rows[size]);
    return rows[size / 2] + leaf(size);
}

static int compared(const void *one, const void *other) {
    return leaf(*(const int *)one) - leaf(*(const int *)other);
}

__attribute__((noinline)) int sorted(int seed) {
    int rows[12];
    for (int i = 0; i < 12; i++)
        rows[i] = mixed(seed, i) % 100;
    qsort(rows, 12, sizeof *rows, compared);
    return rows[0];
}

__attribute__((noinline, noreturn)) void leave(int value) {
    total += leaf(value);
    longjmp(back, 1);
}

__attribute__((noinline)) int jumped(int value) {
    if (setjmp(back) == 0)
        leave(value);
    return total;
}

__attribute__((noinline)) int deep(int depth) {
    int rows[6] = {depth, 1, 2};
    if (depth == 0)
        return sorted(total) + realigned(total & 7);
    rows[depth % 6] = deep(depth - 1);
    return rows[0] + rows[depth % 6] + variable(depth);
}

__attribute__((noinline)) int last_call(int value) { return leaf(value + 1); }

static void handled(int number) { total += number + sorted(number) + last_call(number); }

int main(int count, char **words) {
    stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
    struct sigaction action = {.sa_handler = handled, .sa_flags = SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    action.sa_flags = 0;
    sigaction(SIGUSR2, &action, NULL);
    for (int round = 0; round < 1000 * count; round++) {
        total += deep(round % 9) + jumped(round) + last_call(round);
        if (round % 3 == 0)
            raise(round % 2 ? SIGUSR1 : SIGUSR2);
        free(realloc(malloc(round % 50 + 1), 100));
        total += strtol("1234", NULL, 10) + (getenv("HOME") != NULL) + atoi(words[0]);
    }
    printf("%d\n", total);
    return 0;
}
