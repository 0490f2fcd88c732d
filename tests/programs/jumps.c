/* Functions that end by jumping to others, and calls through pointers. */
#include <stdio.h>

static volatile int sink;

__attribute__((noinline, noclone)) int last(int n) { for (int i = 0; i < n; i++) sink += i; return sink & 1; }
__attribute__((noinline, noclone)) int middle(int n) { sink++; return last(n + 1); }
__attribute__((noinline, noclone)) int first(int n) { sink--; return middle(n + 2); }
__attribute__((noinline, noclone)) int by_pointer(int (*called)(int), int n) { return called(n) + 1; }

int main(void)
{
    int sum = 0;
    for (int i = 0; i < 7; i++) sum += first(i);
    for (int i = 0; i < 5; i++) sum += by_pointer(last, i) + by_pointer(middle, i);
    sum += last(3);
    return sum == 12345;
}
