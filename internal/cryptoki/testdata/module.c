/* A PKCS#11 module whose calls answer as the macros say: with COUNT elements or bytes,
   and with RV. Buffers are filled as far as the caller says they reach. */
#include <string.h>

typedef unsigned long ul;

#ifndef COUNT
#define COUNT 3
#endif

static struct { ul session, user, length, null; char pin[16]; } login;

static ul ok(void) { return 0; }

static ul slots(unsigned char present, ul *list, ul *count)
{
	for (ul i = 0; list && i < *count; i++)
		list[i] = 10 + i;
	*count = COUNT;
	return present == 1 ? RV : 7;
}

static ul find(ul session, ul *objects, ul limit, ul *count)
{
	for (ul i = 0; i < limit; i++)
		objects[i] = session + i;
	*count = COUNT;
	return RV;
}

static ul attribute(ul session, ul object, struct { ul type; void *value; ul length; } *a, ul n)
{
	if (n != 1 || session != 1 || object != 2 || a->type != 3)
		return 7;
	if (a->value)
		memset(a->value, 'a', a->length);
	a->length = COUNT;
	return RV;
}

static ul sign(ul session, const unsigned char *input, ul length, unsigned char *signature, ul *size)
{
	ul sum = session;

	while (length--)
		sum += *input++;
	memset(signature, (int)sum, *size);
	*size = COUNT;
	return RV;
}

static ul log_in(ul session, ul user, const char *pin, ul length)
{
	login.session = session;
	login.user = user;
	login.length = length;
	login.null = !pin;
	memset(login.pin, 0, sizeof login.pin);
	if (length && length < sizeof login.pin)
		memcpy(login.pin, pin, length);
	return session == 1 && user == 2 && login.null == !length && (!length || !strcmp(login.pin, "1234")) ? 0 : 0xa0;
}

static struct { unsigned char major, minor; void *function[68]; } list = { 2, 40, { 0 } };

#ifndef NO_LIST
ul C_GetFunctionList(void **to)
{
	for (int i = 0; i < 68; i++)
		list.function[i] = ok;
	list.function[4] = slots;
	list.function[18] = log_in;
	list.function[24] = attribute;
	list.function[27] = find;
	list.function[43] = sign;
#ifdef GAP
	list.function[GAP] = 0;
#endif
	*to = &list;
	return LIST_RV;
}
#endif
