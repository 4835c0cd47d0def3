/* Preloaded, it makes calls of the C library fail. $FAILING is a list of
   "function errno first count;": count calls from number first on return -1 and set
   errno, or leave it alone for 0. OTHER_OWNER makes fstat64 report another owner. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

enum { OTHER_OWNER = 1000, FAILURES = 4 };

static struct failure {
	char function[32];
	int error, first, count, calls;
} failures[FAILURES];

__attribute__((constructor)) static void read_failures(void)
{
	const char *text = getenv("FAILING");

	for (int i = 0; text && *text && i < FAILURES; i++) {
		struct failure *f = &failures[i];
		if (sscanf(text, "%31s %d %d %d", f->function, &f->error, &f->first, &f->count) != 4)
			abort();
		text = strchr(text, ';');
		text += !!text;
	}
}

/* failing returns 0, or what the call has to fail with, -1 for nothing. */
static int failing(const char *function)
{
	for (struct failure *f = failures; f < failures + FAILURES; f++) {
		if (strcmp(f->function, function) || ++f->calls < f->first || f->calls >= f->first + f->count)
			continue;
		if (f->error && f->error != OTHER_OWNER)
			errno = f->error;
		return f->error ? f->error : -1;
	}
	return 0;
}

#define NEXT(type, name, parameters) (*(type(*) parameters)dlsym(RTLD_NEXT, name))
#define WRAP(type, name, parameters, arguments) \
	type name parameters { return failing(#name) ? -1 : NEXT(type, #name, parameters) arguments; }

WRAP(int, lstat64, (const char *path, struct stat64 *st), (path, st))
WRAP(int, fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid))
WRAP(ssize_t, flistxattr, (int fd, char *list, size_t size), (fd, list, size))
WRAP(ssize_t, fgetxattr, (int fd, const char *name, void *value, size_t size), (fd, name, value, size))
WRAP(int, fsetxattr, (int fd, const char *name, const void *value, size_t size, int flags), (fd, name, value, size, flags))

int open64(const char *path, int flags, ...)
{
	va_list list;
	int mode;

	va_start(list, flags);
	mode = va_arg(list, int);
	va_end(list);
	return failing("open64") ? -1 : NEXT(int, "open64", (const char *, int, ...))(path, flags, mode);
}

int fstat64(int fd, struct stat64 *st)
{
	int failed = failing("fstat64"), result;

	if (failed && failed != OTHER_OWNER)
		return -1;
	result = NEXT(int, "fstat64", (int, struct stat64 *))(fd, st);
	if (failed == OTHER_OWNER)
		st->st_uid++;
	return result;
}

long syscall(long number, ...)
{
	long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	if (number == SYS_statx && failing("statx"))
		return -1;
	return NEXT(long, "syscall", (long, ...))(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
