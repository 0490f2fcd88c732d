/* A child that goes on by itself, and one that executes another program. */
#include "bare.h"

static __attribute__((noinline)) int count(int number) {
    volatile int sum = 0;
    for (int i = 0; i < number; i++) sum += i;
    return sum;
}

int main(void) {
    static char *arguments[] = {"/tmp/corpus/static", 0};
    int status = 0;
    if (system3(57, 0, 0, 0) == 0) leave(count(5));
    system6(61, -1, (long)&status, 0, 0, 0, 0);
    count(3);
    if (system3(57, 0, 0, 0) == 0) {
        system3(59, (long)arguments[0], (long)arguments, (long)(arguments + 1));
        leave(77);
    }
    system6(61, -1, (long)&status, 0, 0, 0, 0);
    return status >> 8;
}
