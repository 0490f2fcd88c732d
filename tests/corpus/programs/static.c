/* Loops, calls, recursion and calls through a table. */
#include "bare.h"

static __attribute__((noinline)) int twice(int number) { return 2 * number; }
static __attribute__((noinline)) int plus(int number) { return number + 1; }
static int (*volatile table[2])(int) = {twice, plus};

static __attribute__((noinline)) int fib(int number) { return number < 2 ? number : fib(number - 1) + fib(number - 2); }

int main(void) {
    int sum = fib(9);
    for (int i = 0; i < 40; i++) sum = table[i & 1](sum) & 0xffff;
    return sum & 7;
}
