/* Calls a shared library, which the system's loader brings in; there is no C library. */
#include "bare.h"

int library_answer(int number);

int main(void) { return library_answer(7) + library_answer(2); }
