// Exceptions: through frames that clean up, caught in functions that call themselves, thrown again, and filtered by type.
#include <cstdio>
#include <stdexcept>
#include <string>

static volatile int sink;

__attribute__((noinline)) static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

struct Guard {
    int number;
    __attribute__((noinline)) ~Guard() { sink = sink + fib(3 + number % 2); }
};

__attribute__((noinline)) static void fail(int kind) {
    if (kind == 0)
        throw std::runtime_error("this");
    if (kind == 1)
        throw 7;
    fib(3);
}

__attribute__((noinline)) static int down(int depth, int kind) {
    Guard guard{depth};
    if (depth == 0)
        fail(kind);
    else
        sink = sink + down(depth - 1, kind);
    return sink;
}

// Each depth catches numbers and throws the others on.
__attribute__((noinline)) static int tries(int depth, int kind) {
    try {
        Guard guard{depth};
        return depth == 0 ? down(2, kind) : tries(depth - 1, kind);
    } catch (int number) {
        return fib(3) + number;
    } catch (const std::runtime_error &) {
        sink = sink + fib(2);
        if (depth == 2)
            return 1;
        throw;
    }
}

// The handler of one exception throws another one.
__attribute__((noinline)) static int twice() {
    try {
        try {
            down(3, 0);
        } catch (...) {
            fib(3);
            down(2, 1);
        }
    } catch (int) {
        return fib(4);
    }
    return 0;
}

int main() {
    for (int kind = 0; kind < 3; kind++)
        sink = sink + tries(3, kind);
    sink = sink + twice();
    std::printf("%d\n", sink > 0);
    return 0;
}
