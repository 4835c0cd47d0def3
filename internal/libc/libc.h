// The calls of the C library that a preloaded pseudo or fakeroot answers. A function
// makes several of them, because the way from Go to C costs more than the calls.
#ifndef IMASIGN_LIBC_H
#define IMASIGN_LIBC_H

#include <stddef.h>
#include <stdint.h>

// struct il_stat is Stat in Go, field by field.
struct il_stat {
	uint64_t dev, ino, rdev, nlink;
	int64_t size, mtime, ctime; // nanoseconds
	uint32_t mode, uid, gid;
	int32_t error; // errno of this one, 0 when the rest is filled
};

// Where a function that works on one file failed.
enum il_stage { IL_DONE, IL_OPEN, IL_STAT, IL_OTHER, IL_LIST, IL_XATTR, IL_OWNER };

// struct il_result is how work on one file ended.
struct il_result {
	int32_t stage; // enum il_stage; IL_OTHER: the file is not in the wanted state
	int32_t error; // errno, never 0 for the other stages
	int64_t at;    // which xattr
	struct il_stat now; // only dev, ino, size and times
};

// il_lstat fills one stat for each name. names holds count names, each ended by NUL, of
// files in the directory dir.
void il_lstat(const char *dir, const char *names, size_t count, struct il_stat *stats);

// il_xattrs writes the xattrs whose names start with prefix into out: 4 bytes
// length of the name, 4 bytes length of the value (host order), name, value. It
// returns how many bytes it wrote. With by_path it does not open the file. list is room
// for the names. ERANGE at IL_LIST means that out or list is too small.
size_t il_xattrs(const char *path, const struct il_stat *want, int by_path, const char *prefix,
		 char *list, size_t list_size, char *out, size_t size, struct il_result *result);

// Options of il_change, or-ed.
enum {
	IL_ANY_STATE = 1,  // accept the inode in any state
	IL_COMPARE = 2,    // read before setting: EEXIST, ENODATA
	IL_SKIP_OTHER = 4, // read before changing, and skip values that differ
	IL_KEEP_OWNER = 8, // restore the owner that the file had
};

// il_change sets and removes xattrs of the file at path if that is in the state
// want. The changes follow each other: 4 bytes flags of setxattr, 4 bytes length of
// the value (-1 to remove), 4 bytes length of the old value (-1 for none), name
// ended by NUL, value, old value. result->at is how many were made.
void il_change(const char *path, const struct il_stat *want, int how,
	       const char *changes, size_t count, struct il_result *result);

// il_create makes an empty file; EEXIST if the name is taken.
int il_create(const char *path, uint32_t mode);
int il_chown(const char *path, uint32_t uid, uint32_t gid);
int il_chmod(const char *path, uint32_t mode);
int il_rename(const char *from, const char *to);
int il_link(const char *from, const char *to);
int il_unlink(const char *path);

// il_closed_at_start tells whether standard input (0), output (1) or error (2) was
// closed when the program started.
int il_closed_at_start(int fd);

#endif
