/* Coroutines whose switches are written in assembly: registers are pushed, the stack pointer is exchanged in one of several
   ways, registers are popped, and `ret` goes on; at first to where a coroutine begins. */
#include <stdint.h>

#define ALONE __attribute__((noinline, noclone))

void switch_to(void **save, void *other);
__asm__(".text\n.globl switch_to\n.type switch_to,@function\nswitch_to:\n"
        "push %rbp\npush %rbx\npush %r12\npush %r13\npush %r14\npush %r15\n"
#if WAY == 0
        "mov %rsp,(%rdi)\nmov %rsi,%rsp\n"
#elif WAY == 1
        "mov %rsi,%rax\nxchg %rax,%rsp\nmov %rax,(%rdi)\n"
#elif WAY == 2
        "mov %rsi,(%rdi)\nxchg %rsp,(%rdi)\n"
#else
        "mov %rsp,(%rdi)\npush %rsi\npop %rsp\n"
#endif
        "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbx\npop %rbp\nret\n.size switch_to,.-switch_to\n");

static void *outer, *inner;
static uint64_t room[4096];
volatile int sink;

ALONE void leaf(int n) { sink += n; }
ALONE void deeper(int n) { leaf(n); switch_to(&inner, outer); leaf(n); sink++; }
ALONE void body(void) { for (int i = 0;; i++) { deeper(i); leaf(i); } }
ALONE void resume(void) { switch_to(&outer, inner); sink++; }

int main(void)
{
    uint64_t *top = room + 4096 - 2;
    *--top = 0;
    *--top = (uint64_t)body;
    for (int i = 0; i < 6; i++) *--top = 0;
    inner = top;
    for (int i = 0; i < 4; i++) { resume(); leaf(i); }
    return 0;
}
