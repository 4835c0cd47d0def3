/* A PKCS#11 module with one token, one session and one EC key that answers as the macros
   say; without any it answers as a good one does, but for a signature of nonsense. */
#include <string.h>

typedef unsigned long ul;

#ifndef SLOTS
#define SLOTS 1
#endif
#ifndef SLOTS_AGAIN
#define SLOTS_AGAIN SLOTS
#endif
#ifndef FOUND
#define FOUND 1
#endif
#ifndef SIGNATURE
#define SIGNATURE 64
#endif
#ifndef LENGTH
#define LENGTH(n) (n)
#endif
#ifndef LENGTH_AGAIN
#define LENGTH_AGAIN(n) (n)
#endif

static const unsigned char p256[] = { 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7 };
static const unsigned char point[] = { 4, 65, 4, /* the generator */
	0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96,
	0x4f, 0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce, 0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5 };
static const ul ec = 3;

static ul ok(void) { return 0; }

static ul slots(unsigned char present, ul *list, ul *count)
{
	if (!list)
		*count = SLOTS;
	else
		*count = SLOTS_AGAIN;
	return 0;
}

static ul token(ul slot, unsigned char *info)
{
#ifndef NO_INFO
	memset(info, ' ', 96); /* label, manufacturer, model, serial */
	info[0] = 'T';
	memset(info + 96, 0, 80);
	*(ul *)(info + 96) = 0x400; /* CKF_TOKEN_INITIALIZED, no login */
#endif
	return 0;
}

static int asked;

static ul start(void) { asked = 0; return 0; }

static ul find(ul session, ul *objects, ul limit, ul *count)
{
	*count = asked++ ? 0 : FOUND;
	objects[0] = 1;
	return 0;
}

static ul give(ul *length, void *to, const void *value, ul size)
{
	if (!to) {
		*length = LENGTH(size);
		return 0;
	}
	if (*length >= size)
		memcpy(to, value, size);
	*length = LENGTH_AGAIN(size);
	return 0;
}

static ul attribute(ul session, ul object, struct { ul type; void *value; ul length; } *a, ul n)
{
#ifdef NO_ATTRIBUTES
	return 0;
#endif
	switch (a->type) {
	case 0x100: return give(&a->length, a->value, &ec, sizeof ec);
	case 0x180: return give(&a->length, a->value, p256, sizeof p256);
	case 0x181: return give(&a->length, a->value, point, sizeof point);
	}
	a->length = -1ul;
	return 0x12;
}

static ul sign(ul session, void *data, ul length, unsigned char *signature, ul *size)
{
	if (signature && SIGNATURE <= 4096ul)
		memset(signature, 1, SIGNATURE);
	*size = SIGNATURE;
	return 0;
}

static struct {
	unsigned char major, minor;
	void *function[68];
} list = { 2, 40 };

ul C_GetFunctionList(void **to)
{
	int i;

	for (i = 0; i < 68; i++)
		list.function[i] = ok;
	list.function[4] = slots;
	list.function[6] = token;
	list.function[24] = attribute;
	list.function[26] = start;
	list.function[27] = find;
	list.function[43] = sign;
#ifdef GAP
	list.function[GAP] = 0;
#endif
#ifdef NO_LIST
	*to = 0;
#elif !defined NOTHING
	*to = &list;
#endif
	return 0;
}
