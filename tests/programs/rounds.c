// Goes round in loops that write no packets, and ends in each way that there is. Needs no library, so that it is short.
//
// Each loop runs in a process of its own, one after the other; rounds NAME runs one of them here.

#define SMALL 65536

__asm__(
    ".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call begin\n"
    "restore: mov $15, %eax\n syscall\n"
    // One function that calls itself, two that call each other, and the shortest of all.
    ".globl one\none: sub $24, %rsp\n call one\n ret\n"
    ".globl two\ntwo: push %rax\n call other\n ret\n"
    ".globl other\nother: sub $40, %rsp\n nop\n call two\n ret\n"
    ".globl shortest\nshortest: call shortest\n"
    ".globl spin\nspin: jmp spin\n"
    ".globl second\nsecond: movl $1, is_running(%rip)\n jmp spin\n"
    ".globl round\nround: nop\n jmp 1f\n int3\n2: nop\n nop\n jmp round\n1: lea 0(%rax), %rax\n jmp 2b\n");

void one(void), two(void), shortest(void), spin(void), second(void), round(void), restore(void);

// The second thread runs. And, in memory that it shares with its child: the child runs.
volatile int is_running;
static volatile int *child_is_running;

static long call(long number, long a, long b, long c, long d, long e) {
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = 0;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

static void leave(int status) { call(231, status, 0, 0, 0, 0); }

static void rest(long milliseconds) {
    long time[2] = {0, milliseconds * 1000000};
    call(35, (long)time, 0, 0, 0, 0);
}

static void timer(long microseconds, long again) {
    long times[4] = {0, again ? microseconds : 0, 0, microseconds};
    call(38, 0, (long)times, 0, 0, 0);
}

// A stack that ends soon: the page below can be read by nobody.
static void deep(void (*function)(void)) {
    char *stack = (char *)call(9, 0, SMALL, 3, 0x22, -1);
    call(10, (long)stack, 4096, 0, 0, 0);
    __asm__ volatile("mov %0, %%rsp\n call *%1" : : "r"(stack + SMALL), "r"(function));
}

static volatile int ticks;

static void tick(int number) {
    if (++ticks == 5) leave(5);
}

static void handled(void) {
    struct { void (*handler)(int); long flags; void (*restorer)(void); long mask; } action = {tick, 0x04000000, restore, 0};
    call(13, 14, (long)&action, 0, 8, 0);
    timer(3000, 1);
    round();
}

// A second thread goes round; the first ends the process, or replaces the program.
static void thread(char **argv, int replace) {
    char *stack = (char *)call(9, 0, SMALL, 3, 0x22, -1);
    long *top = (long *)(stack + SMALL) - 2;
    *top = (long)second;
    long result;
    register long r10 __asm__("r10") = 0, r8 __asm__("r8") = 0;
    __asm__ volatile("syscall\n test %%eax, %%eax\n jnz 1f\n ret\n1:"
                     : "=a"(result)
                     : "a"(56), "D"(0x50f00), "S"(top), "d"(0), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    while (!is_running) rest(1);
    rest(5);
    char *words[] = {argv[0], "leave", 0}, *none[] = {0};
    if (replace) call(59, (long)"/proc/self/exe", (long)words, (long)none, 0, 0);
    leave(6);
}

static void run(char which, char **argv) {
    switch (which) {
        case '1': deep(one);
        case '2': deep(two);
        case 's': deep(shortest);
        case 'a': timer(5000, 0), spin();
        case 'h': handled();
        case 't': thread(argv, 0);
        case 'e': thread(argv, 1);
        case 'k': *child_is_running = 1, round();
        default: leave(7);
    }
}

void begin(long *stack) {
    char **argv = (char **)(stack + 1);
    child_is_running = (volatile int *)call(9, 0, 4096, 3, 0x21, -1);
    if (stack[0] > 1) run(argv[1][0], argv);
    for (const char *which = "12sahtek"; *which; which++) {
        long pid = call(57, 0, 0, 0, 0, 0);
        if (pid < 0) leave(8);
        if (pid == 0) run(*which, argv);
        if (*which == 'k') {
            while (!*child_is_running) rest(1);
            rest(10), call(62, pid, 9, 0, 0, 0);
        }
        call(61, pid, 0, 0, 0, 0);
    }
    leave(0);
}
