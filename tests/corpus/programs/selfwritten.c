/* Writes code, runs it, writes other code in its place; the last piece changes its own next instruction. */
#include "bare.h"

int main(void) {
    unsigned char *page = (unsigned char *)pages(8192);
    int sum = 0;
    for (int i = 0; i < 6; i++) {
        unsigned char code[] = {0xb8, (unsigned char)i, 0, 0, 0, 0xc3}; /* mov eax, i; ret, across a page */
        for (unsigned j = 0; j < sizeof code; j++) page[4092 + j] = code[j];
        sum += ((int (*)(void))(page + 4092))();
    }
    for (int i = 0; i < 4; i++) {
        /* mov byte [rip + 1], i; mov eax, 0xff; ret */
        unsigned char code[] = {0x90, 0xc6, 0x05, 1, 0, 0, 0, (unsigned char)i, 0xb8, 0xff, 0, 0, 0, 0xc3};
        for (unsigned j = 0; j < sizeof code; j++) page[100 + j] = code[j];
        sum += ((int (*)(void))(page + 100))();
    }
    return sum;
}
