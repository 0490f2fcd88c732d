/* Handles a signal twice, once inside the handler of another one. */
#include "bare.h"

static volatile int seen;

void back(void);
__asm__("back: mov $15, %eax\nsyscall\n");

static void inner(int number) { seen += number; }
static void outer(int number) {
    seen += number;
    system3(62, system3(39, 0, 0, 0), 10, 0);
}

static void handle(int number, void (*handler)(int)) {
    struct { void (*handler)(int); unsigned long flags; void (*restorer)(void); unsigned long mask; } action = {
        handler, 0x04000000, back, 0};
    system6(13, number, (long)&action, 0, 8, 0, 0);
}

int main(void) {
    handle(10, inner);
    handle(12, outer);
    for (int i = 0; i < 2; i++) system3(62, system3(39, 0, 0, 0), 12, 0);
    return seen;
}
