//go:build cgo && linux

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64

#include "libc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

// reason returns errno, or EOPNOTSUPP if a preloaded library failed without setting it,
// as pseudo does for calls that it does not implement.
static int reason(void)
{
	return errno ? errno : EOPNOTSUPP;
}

// nanoseconds wraps around for times that 64 bits do not reach, as Timespec.Nano does in
// Go. Equal times stay equal.
static int64_t nanoseconds(int64_t seconds, int64_t rest)
{
	return (int64_t)((uint64_t)seconds * 1000000000 + (uint64_t)rest);
}

static void take(const struct stat *st, struct il_stat *out)
{
	out->dev = st->st_dev;
	out->ino = st->st_ino;
	out->rdev = st->st_rdev;
	out->nlink = st->st_nlink;
	out->size = st->st_size;
	out->mtime = nanoseconds(st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	out->ctime = nanoseconds(st->st_ctim.tv_sec, st->st_ctim.tv_nsec);
	out->mode = st->st_mode;
	out->uid = st->st_uid;
	out->gid = st->st_gid;
	out->error = 0;
}

static int same_inode(const struct il_stat *a, const struct il_stat *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

static int same_state(const struct il_stat *a, const struct il_stat *b)
{
	return same_inode(a, b) && a->size == b->size && a->mtime == b->mtime && a->ctime == b->ctime;
}

void il_lstat(const char *dir, const char *names, size_t count, struct il_stat *stats)
{
	size_t base = strlen(dir), longest = 0, i;
	const char *name;
	char *path;
	struct stat st;

	for (name = names, i = 0; i < count; i++, name += strlen(name) + 1)
		if (strlen(name) > longest)
			longest = strlen(name);
	path = malloc(base + longest + 2);
	if (path) {
		memcpy(path, dir, base);
		path[base] = '/';
	}
	for (name = names, i = 0; i < count; i++, name += strlen(name) + 1) {
		if (!path) {
			stats[i].error = ENOMEM;
			continue;
		}
		strcpy(path + base + 1, name);
		errno = 0;
		if (lstat(path, &st))
			stats[i].error = reason();
		else
			take(&st, &stats[i]);
	}
	free(path);
}

// struct file is the file at work: by a descriptor, or by its path if opening it has an
// effect (a device, a FIFO) or is impossible (a link).
struct file {
	const char *path;
	int fd; // -1: by path
};

static int stop(struct il_result *result, int stage)
{
	result->stage = stage;
	result->error = stage == IL_OTHER ? ESTALE : reason();
	return -1;
}

// state fills the fields that are never pretended and that identify a file and its
// state. For an open file it asks the kernel: every stat of the C library is a message
// to pseudo's server, a third of all messages of a signing run.
static int state(const struct file *f, struct il_stat *out)
{
	struct statx x;
	struct stat st;

	errno = 0;
	if (f->fd >= 0 && !syscall(SYS_statx, f->fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &x)) {
		out->dev = makedev(x.stx_dev_major, x.stx_dev_minor);
		out->ino = x.stx_ino;
		out->size = x.stx_size;
		out->mtime = nanoseconds(x.stx_mtime.tv_sec, x.stx_mtime.tv_nsec);
		out->ctime = nanoseconds(x.stx_ctime.tv_sec, x.stx_ctime.tv_nsec);
		return 0;
	}
	errno = 0;
	if (f->fd >= 0 ? fstat(f->fd, &st) : lstat(f->path, &st))
		return -1;
	take(&st, out);
	return 0;
}

// look checks that the file is still the wanted one.
static int look(const struct file *f, const struct il_stat *want, int whole, struct il_result *result)
{
	if (state(f, &result->now))
		return stop(result, IL_STAT);
	if (whole ? same_state(want, &result->now) : same_inode(want, &result->now))
		return 0;
	return stop(result, IL_OTHER);
}

// open_file opens without blocking and without following a link, and checks the file.
// With by_path it only checks.
static int open_file(struct file *f, const struct il_stat *want, int whole, int by_path, struct il_result *result)
{
	memset(result, 0, sizeof *result);
	f->fd = -1;
	while (!by_path && f->fd < 0) {
		errno = 0;
		f->fd = open(f->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (f->fd < 0 && errno != EINTR)
			return stop(result, IL_OPEN);
	}
	return look(f, want, whole, result);
}

static void close_file(struct file *f)
{
	if (f->fd >= 0)
		close(f->fd);
}

// put appends one xattr to out.
static int put(const struct file *f, const char *name, char *out, size_t size, size_t *used)
{
	uint32_t lengths[2] = {strlen(name), 0};
	size_t head = sizeof lengths + lengths[0];
	char *value = out + *used + head;
	size_t room;
	ssize_t n;

	if (size - *used <= head) { // a call with no room would ask for the size
		errno = ERANGE;
		return -1;
	}
	room = size - *used - head;
	errno = 0;
	n = f->fd >= 0 ? fgetxattr(f->fd, name, value, room) : lgetxattr(f->path, name, value, room);
	if (n < 0)
		return errno == ENODATA ? 0 : -1; // removed since it was listed
	if ((size_t)n > room) { // pseudo cuts a value off and returns its whole length
		errno = ERANGE;
		return -1;
	}
	lengths[1] = n;
	memcpy(out + *used, lengths, sizeof lengths);
	memcpy(out + *used + sizeof lengths, name, lengths[0]);
	*used += head + n;
	return 0;
}

static size_t read_xattrs(const struct file *f, const char *prefix, char *list, size_t list_size,
			  char *out, size_t size, struct il_result *result)
{
	size_t used = 0;
	const char *name;
	ssize_t n;

	errno = 0;
	n = f->fd >= 0 ? flistxattr(f->fd, list, list_size - 1) : llistxattr(f->path, list, list_size - 1);
	if (n >= 0 && (size_t)n >= list_size) { // as for values
		errno = ERANGE;
		n = -1;
	}
	if (n < 0) {
		if (reason() != EOPNOTSUPP) // a file system without xattrs has none
			stop(result, IL_LIST);
		return 0;
	}
	list[n] = 0;
	for (name = list; name < list + n; name += strlen(name) + 1) {
		if (strncmp(name, prefix, strlen(prefix)))
			continue;
		if (put(f, name, out, size, &used)) {
			stop(result, errno == ERANGE ? IL_LIST : IL_XATTR);
			result->at = name - list;
			return 0;
		}
	}
	return used;
}

size_t il_xattrs(const char *path, const struct il_stat *want, int by_path, const char *prefix,
		 char *list, size_t list_size, char *out, size_t size, struct il_result *result)
{
	struct file f = {path, -1};
	size_t used = 0;

	if (!open_file(&f, want, 1, by_path, result)) {
		used = read_xattrs(&f, prefix, list, list_size, out, size, result);
		if (by_path && result->stage == IL_DONE)
			look(&f, want, 1, result); // the path may have led elsewhere in between
	}
	close_file(&f);
	return used;
}

struct change {
	int32_t flags, size, old_size;
	const char *name, *value, *old;
};

// take_change reads one change and returns where the next one is.
static const char *take_change(const char *at, struct change *c)
{
	memcpy(&c->flags, at, sizeof c->flags);
	memcpy(&c->size, at + 4, sizeof c->size);
	memcpy(&c->old_size, at + 8, sizeof c->old_size);
	c->name = at + 12;
	c->value = c->name + strlen(c->name) + 1;
	c->old = c->value + (c->size < 0 ? 0 : c->size);
	return c->old + (c->old_size < 0 ? 0 : c->old_size);
}

// is_old returns 1 if the xattr has its old value, 0 with errno EEXIST or ENODATA if it
// differs, and -1 if it cannot be read.
static int is_old(const struct file *f, const struct change *c)
{
	size_t room = c->old_size < 0 ? 1 : (size_t)c->old_size + 1; // a longer value differs
	char *now = malloc(room);
	ssize_t n;
	int same = 0;

	if (!now)
		return -1;
	errno = 0;
	n = fgetxattr(f->fd, c->name, now, room);
	if (n < 0 && errno != ENODATA && errno != ERANGE)
		same = -1;
	else if (n < 0 && errno == ENODATA)
		same = c->old_size < 0;
	else if (n >= 0 && n == c->old_size)
		same = !memcmp(now, c->old, n);
	free(now);
	if (same == 0)
		errno = c->old_size < 0 ? EEXIST : ENODATA;
	return same;
}

static int make_change(const struct file *f, const struct change *c, int how)
{
	int same = 1;

	if (how & IL_SKIP_OTHER || (how & IL_COMPARE && c->size >= 0)) // what is to go may be gone
		same = is_old(f, c);
	if (same == 0 && (how & IL_SKIP_OTHER))
		return 0;
	if (same != 1)
		return -1;
	errno = 0;
	if (c->size >= 0)
		return fsetxattr(f->fd, c->name, c->value, c->size, c->flags);
	return fremovexattr(f->fd, c->name) && errno != ENODATA ? -1 : 0;
}

static void change_all(const struct file *f, int how, const char *changes, size_t count, struct il_result *result)
{
	struct change c;
	size_t i;

	for (i = 0; i < count; i++) {
		changes = take_change(changes, &c);
		if (make_change(f, &c, how)) {
			stop(result, IL_XATTR);
			break;
		}
	}
	result->at = i;
}

static void restore_owner(const struct file *f, const struct stat *before, struct il_result *result)
{
	struct stat after;

	errno = 0;
	if (fstat(f->fd, &after) ||
	    ((after.st_uid != before->st_uid || after.st_gid != before->st_gid) &&
	     fchown(f->fd, before->st_uid, before->st_gid)))
		stop(result, IL_OWNER);
}

void il_change(const char *path, const struct il_stat *want, int how,
	       const char *changes, size_t count, struct il_result *result)
{
	struct file f = {path, -1};
	struct stat before;

	if (!open_file(&f, want, !(how & IL_ANY_STATE), 0, result)) {
		errno = 0;
		if ((how & IL_KEEP_OWNER) && fstat(f.fd, &before)) {
			stop(result, IL_STAT);
		} else {
			change_all(&f, how, changes, count, result);
			if ((how & IL_KEEP_OWNER) && result->at > 0)
				restore_owner(&f, &before, result);
			if (result->stage == IL_DONE && state(&f, &result->now))
				stop(result, IL_STAT);
		}
	}
	close_file(&f);
}

static int outcome(int failed)
{
	return failed ? reason() : 0;
}

int il_create(const char *path, uint32_t mode)
{
	int fd;

	do {
		errno = 0;
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	} while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return reason();
	close(fd);
	return 0;
}

int il_chown(const char *path, uint32_t uid, uint32_t gid)
{
	errno = 0;
	return outcome(lchown(path, uid, gid));
}

int il_chmod(const char *path, uint32_t mode)
{
	errno = 0;
	return outcome(chmod(path, mode));
}

int il_rename(const char *from, const char *to)
{
	errno = 0;
	return outcome(rename(from, to));
}

int il_link(const char *from, const char *to)
{
	errno = 0;
	return outcome(link(from, to));
}

int il_unlink(const char *path)
{
	errno = 0;
	return outcome(unlink(path));
}
