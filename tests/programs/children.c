/* Forks; the children execute a program, a script, something that does not exist, and a foreign program. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int count, char **arguments) {
    for (int i = 1; i < count; i++) {
        int status = 0;
        if (fork() == 0) {
            execl(arguments[i], arguments[i], (char *)0);
            _exit(77);
        }
        wait(&status);
        printf("%d\n", WEXITSTATUS(status));
        fflush(stdout);
    }
    return 0;
}
