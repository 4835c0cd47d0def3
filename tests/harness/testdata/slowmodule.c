/*
 * A PKCS#11 module that stands in front of another one and passes every call on. Calls take a
 * minimum time, as with an HSM in a network, and are counted. Sessions wait in parallel.
 * Environment:
 *
 *	SLOWMODULE_MODULE      path of the module behind it
 *	SLOWMODULE_DELAY_US    microseconds that a signature takes, at least
 *	SLOWMODULE_EVERY       not empty: every other call of a session takes as long
 *	SLOWMODULE_CALLS       a file that gets a letter for each call of a session, by any process: "c",
 *	                       or for a signature "A" to "Z", the number of signatures of this
 *	                       process that were in progress when it began, at most 26
 *	SLOWMODULE_FAIL_AFTER  number of signatures of this process; then CKR_DEVICE_ERROR
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* PKCS#11 2.40: 68 functions behind the version, in the order of pkcs11f.h. */
enum { C_GET_FUNCTION_LIST = 3, C_OPEN_SESSION = 12, C_SIGN = 43, FUNCTIONS = 68 };
enum { CKR_OK = 0, CKR_GENERAL_ERROR = 0x05, CKR_DEVICE_ERROR = 0x30 };

/* No function has more than eight arguments. In the calling conventions of x86-64 and arm64, a
   function that takes fewer or shorter ones finds them in the same places. */
#define ARGUMENTS unsigned long a, unsigned long b, unsigned long c, unsigned long d, unsigned long e, unsigned long f, unsigned long g, unsigned long h
typedef unsigned long (*function)(ARGUMENTS);

struct list {
	struct { unsigned char major, minor; } version;
	function call[FUNCTIONS];
};

static struct list behind, ours;
static long delay_us, fail_after = -1;
static atomic_long begun, together;
static int calls = -1, every;

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

static unsigned long pass(int i, ARGUMENTS)
{
	int signature = i == C_SIGN && d; /* without a buffer, C_Sign only asks for the length */
	struct timespec start;
	unsigned long rv;
	long now = 0;
	char letter = 'c';

	if (i < C_OPEN_SESSION)
		return behind.call[i](a, b, c, d, e, f, g, h);
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (signature && fail_after >= 0 && atomic_fetch_add(&begun, 1) >= fail_after)
		return CKR_DEVICE_ERROR;
	if (signature) {
		now = atomic_fetch_add(&together, 1);
		letter = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"[now < 26 ? now : 25];
	}
	rv = behind.call[i](a, b, c, d, e, f, g, h);
	if (signature || every)
		wait_since(start);
	if (signature)
		atomic_fetch_sub(&together, 1);
	if (calls >= 0 && write(calls, &letter, 1) != 1)
		return CKR_GENERAL_ERROR;
	return rv;
}

#define PASS(i) static unsigned long pass_##i(ARGUMENTS) { return pass(i, a, b, c, d, e, f, g, h); }
#define NAME(i) pass_##i,
#define EIGHT(m, t) m(t##0) m(t##1) m(t##2) m(t##3) m(t##4) m(t##5) m(t##6) m(t##7)
#define TEN(m, t) EIGHT(m, t) m(t##8) m(t##9)
#define ALL(m) TEN(m, ) TEN(m, 1) TEN(m, 2) TEN(m, 3) TEN(m, 4) TEN(m, 5) EIGHT(m, 6)
ALL(PASS)
static const function passes[FUNCTIONS] = { ALL(NAME) };

EXPORT unsigned long C_GetFunctionList(struct list **);

static unsigned long load(void)
{
	const char *module = getenv("SLOWMODULE_MODULE"), *delay = getenv("SLOWMODULE_DELAY_US");
	const char *count = getenv("SLOWMODULE_CALLS"), *fail = getenv("SLOWMODULE_FAIL_AFTER"), *other = getenv("SLOWMODULE_EVERY");
	void *handle = module ? dlopen(module, RTLD_NOW | RTLD_LOCAL) : NULL;
	unsigned long (*get)(struct list **) = handle ? (unsigned long (*)(struct list **))dlsym(handle, "C_GetFunctionList") : NULL;
	struct list *theirs;
	int i;

	if (!get || get(&theirs) != CKR_OK || (count && (calls = open(count, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) < 0))
		return CKR_GENERAL_ERROR;
	delay_us = delay ? atol(delay) : 0;
	every = other && *other;
	fail_after = fail ? atol(fail) : -1;
	behind = *theirs;
	ours.version = behind.version;
	for (i = 0; i < FUNCTIONS; i++)
		ours.call[i] = passes[i];
	ours.call[C_GET_FUNCTION_LIST] = (function)(void (*)(void))C_GetFunctionList;
	return CKR_OK;
}

EXPORT unsigned long C_GetFunctionList(struct list **out)
{
	static atomic_flag busy = ATOMIC_FLAG_INIT;
	unsigned long rv = CKR_OK;

	while (atomic_flag_test_and_set(&busy))
		;
	if (!ours.call[C_SIGN])
		rv = load();
	atomic_flag_clear(&busy);
	*out = &ours;
	return rv;
}
