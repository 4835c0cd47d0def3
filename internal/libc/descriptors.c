#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>

#include "libc.h"

static int closed_at_start;

/*
 * Go's runtime opens /dev/null in place of a closed standard stream. Later this looks like
 * a /dev/null from the parent process (Python passes one for DEVNULL, with the same flags).
 * Constructors run before the runtime starts.
 */
__attribute__((constructor)) static void note_closed_descriptors(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			closed_at_start |= 1 << fd;
}

int il_closed_at_start(int fd)
{
	return closed_at_start >> fd & 1;
}
