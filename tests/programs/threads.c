/* Four threads sort. */
#include <pthread.h>
#include <stdlib.h>

static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }

static void *work(void *seed) {
    unsigned state = (unsigned)(size_t)seed;
    int numbers[200];
    for (int i = 0; i < 200; i++) numbers[i] = rand_r(&state);
    qsort(numbers, 200, sizeof *numbers, compare);
    return NULL;
}

int main(void) {
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    return 0;
}
