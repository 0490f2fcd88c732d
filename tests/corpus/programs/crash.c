/* Dies by SIGSEGV in the middle of a block, three calls deep. */
#include "bare.h"

static __attribute__((noinline)) int third(volatile int *place) { return *place + 1; }
static __attribute__((noinline)) int second(volatile int *place) { return third(place) + 1; }

int main(void) {
    volatile int sum = 0;
    for (int i = 0; i < 20; i++) sum += i;
    return second((volatile int *)8) + sum;
}
