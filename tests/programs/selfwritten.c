/* Writes code, runs it, writes other code in its place; and code that changes its own next instruction. */
#include <string.h>
#include <sys/mman.h>

int main(void) {
    unsigned char *page = mmap(0, 8192, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    int sum = 0;
    for (int i = 0; i < 20; i++) {
        unsigned char code[] = {0xb8, (unsigned char)i, 0, 0, 0, 0xc3}; /* mov eax, i; ret, across a page */
        memcpy(page + 4090, code, sizeof code);
        sum += ((int (*)(void))(page + 4090))();
    }
    for (int i = 0; i < 5; i++) {
        /* mov byte [rip + 1], 3 * i; mov eax, 0xff; ret: the first instruction changes the second */
        unsigned char code[] = {0x90, 0xc6, 0x05, 1, 0, 0, 0, (unsigned char)(3 * i), 0xb8, 0xff, 0, 0, 0, 0xc3};
        memcpy(page + 100, code, sizeof code);
        sum += ((int (*)(void))(page + 100))();
    }
    return sum == 190 + 30 ? 0 : 1;
}
