/* Compiled into a search with -include: names each point when it is first come by. */
#include <stdio.h>

static const char *points[64];

static void come_by(const char *name) {
    int i = 0;
    while (points[i] && points[i] != name)
        i++;
    if (!points[i]) {
        points[i] = name;
        printf("REACHED: %s\n", name);
    }
}
