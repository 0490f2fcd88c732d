/* Dies by SIGSEGV in the middle of a block. */
int main(int count, char **arguments) {
    volatile int *nowhere = 0;
    int sum = count;
    for (int i = 0; i < 100; i++) sum += i;
    *nowhere = sum;
    return sum;
}
