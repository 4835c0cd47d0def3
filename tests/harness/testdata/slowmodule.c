/*
 * A PKCS#11 module that stands in front of another one. C_Sign takes a minimum time, as with
 * an HSM in a network, and is counted; everything else is passed on unchanged. Sessions wait
 * in parallel. Environment:
 *
 *	SLOWMODULE_MODULE      path of the module behind it
 *	SLOWMODULE_DELAY_US    microseconds that a signature takes, at least
 *	SLOWMODULE_CALLS       a file that gets one byte for each signature, of any process
 *	SLOWMODULE_FAIL_AFTER  number of signatures of this process; then CKR_DEVICE_ERROR
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* PKCS#11 2.40: 68 functions behind the version, in the order of pkcs11f.h. */
enum { C_GET_FUNCTION_LIST = 3, C_SIGN = 43, FUNCTIONS = 68 };
enum { CKR_OK = 0, CKR_GENERAL_ERROR = 0x05, CKR_DEVICE_ERROR = 0x30 };

struct list {
	struct { unsigned char major, minor; } version;
	void *function[FUNCTIONS];
};
typedef unsigned long (*get_list)(struct list **);
typedef unsigned long (*sign)(unsigned long, unsigned char *, unsigned long, unsigned char *, unsigned long *);

static struct list behind, ours;
static long delay_us, fail_after = -1;
static atomic_long begun;
static int calls = -1;

static void wait_since(struct timespec start)
{
	start.tv_sec += delay_us / 1000000;
	start.tv_nsec += delay_us % 1000000 * 1000;
	if (start.tv_nsec >= 1000000000) {
		start.tv_sec++;
		start.tv_nsec -= 1000000000;
	}
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &start, NULL))
		;
}

static unsigned long slow_sign(unsigned long session, unsigned char *data, unsigned long size, unsigned char *signature, unsigned long *length)
{
	struct timespec start;
	unsigned long rv;

	if (!signature) /* only asks for the length */
		return ((sign)behind.function[C_SIGN])(session, data, size, signature, length);
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (fail_after >= 0 && atomic_fetch_add(&begun, 1) >= fail_after)
		return CKR_DEVICE_ERROR;
	rv = ((sign)behind.function[C_SIGN])(session, data, size, signature, length);
	wait_since(start);
	if (rv == CKR_OK && calls >= 0 && write(calls, "", 1) != 1)
		return CKR_GENERAL_ERROR;
	return rv;
}

static unsigned long load(void)
{
	const char *module = getenv("SLOWMODULE_MODULE"), *delay = getenv("SLOWMODULE_DELAY_US");
	const char *count = getenv("SLOWMODULE_CALLS"), *fail = getenv("SLOWMODULE_FAIL_AFTER");
	void *handle = module ? dlopen(module, RTLD_NOW | RTLD_LOCAL) : NULL;
	get_list get = handle ? (get_list)dlsym(handle, "C_GetFunctionList") : NULL;
	struct list *theirs;

	if (!get || get(&theirs) != CKR_OK || (count && (calls = open(count, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) < 0))
		return CKR_GENERAL_ERROR;
	delay_us = delay ? atol(delay) : 0;
	fail_after = fail ? atol(fail) : -1;
	behind = *theirs;
	ours = behind;
	ours.function[C_SIGN] = (void *)slow_sign;
	return CKR_OK;
}

EXPORT unsigned long C_GetFunctionList(struct list **out)
{
	static atomic_flag busy = ATOMIC_FLAG_INIT;
	unsigned long rv = CKR_OK;

	while (atomic_flag_test_and_set(&busy))
		;
	if (!ours.function[C_SIGN] && (rv = load()) == CKR_OK)
		ours.function[C_GET_FUNCTION_LIST] = (void *)C_GetFunctionList;
	atomic_flag_clear(&busy);
	*out = &ours;
	return rv;
}
