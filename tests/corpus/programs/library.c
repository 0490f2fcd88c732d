/* The library of dynamic.c. */
int library_answer(int number) {
    int sum = 0;
    for (int i = 0; i < number; i++) sum += i;
    return sum;
}
