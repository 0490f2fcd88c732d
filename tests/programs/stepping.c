/* Lines to step over, into and out of; debuggers look for them by their comments. */
#include <stdlib.h>

static int numbers[5] = {5, 3, 1, 4, 2};

static int twice(int n)
{
	int result = n + n; /* in twice */
	return result; /* end of twice */
}

static int compare(const void *one, const void *other)
{
	return *(const int *)one - *(const int *)other; /* in compare */
}

static int down(int n)
{
	if (n == 0)
		return 0; /* bottom */
	return 1 + down(n - 1); /* recursion */
}

int main(void)
{
	int sum = 0; /* first */
	for (int turn = 0; turn < 10; turn++)
		sum += twice(turn); /* in loop */
	qsort(numbers, 5, sizeof *numbers, compare); /* sort */
	sum += down(6); /* deep */
	return sum == 96 ? 0 : 1; /* last */
}
