//go:build cgo

#include "cryptoki.h"

#include <dlfcn.h>
#include <stddef.h>

/* Places in the list: the order of pkcs11f.h. */
enum {
	C_INITIALIZE, C_FINALIZE, C_GET_SLOT_LIST = 4, C_GET_TOKEN_INFO = 6, C_OPEN_SESSION = 12, C_CLOSE_SESSION,
	C_GET_SESSION_INFO = 15, C_LOGIN = 18, C_CREATE_OBJECT = 20, C_DESTROY_OBJECT = 22, C_GET_ATTRIBUTE_VALUE = 24,
	C_FIND_OBJECTS_INIT = 26, C_FIND_OBJECTS, C_FIND_OBJECTS_FINAL, C_SIGN_INIT = 42, C_SIGN, C_GENERATE_KEY_PAIR = 59
};

static const int needed[] = {
	C_INITIALIZE, C_FINALIZE, C_GET_SLOT_LIST, C_GET_TOKEN_INFO, C_OPEN_SESSION, C_CLOSE_SESSION, C_GET_SESSION_INFO, C_LOGIN,
	C_CREATE_OBJECT, C_DESTROY_OBJECT, C_GET_ATTRIBUTE_VALUE, C_FIND_OBJECTS_INIT, C_FIND_OBJECTS, C_FIND_OBJECTS_FINAL,
	C_SIGN_INIT, C_SIGN, C_GENERATE_KEY_PAIR
};

int ick_load(const char *path, ick_list **list)
{
	void *handle = dlopen(path, RTLD_LAZY);
	unsigned long (*get)(ick_list **);
	size_t i;

	if (!handle)
		return ICK_NO_MODULE;
	*(void **)&get = dlsym(handle, "C_GetFunctionList");
	if (!get) {
		dlclose(handle);
		return ICK_NO_MODULE;
	}
	*list = NULL;
	if (get(list) != 0 || !*list)
		return ICK_NOTHING;
	for (i = 0; i < sizeof needed / sizeof *needed; i++)
		if (!(*list)->function[needed[i]])
			return ICK_NOTHING;
	return ICK_OK;
}

unsigned long ick_slots(ick_list *list, unsigned long *slots, unsigned long *count)
{
	return ((unsigned long (*)(unsigned char, unsigned long *, unsigned long *))list->function[C_GET_SLOT_LIST])(1, slots, count);
}

unsigned long ick_find(ick_list *list, unsigned long session, unsigned long *objects, unsigned long limit, unsigned long *count)
{
	return ((unsigned long (*)(unsigned long, unsigned long *, unsigned long, unsigned long *))list->function[C_FIND_OBJECTS])(session, objects, limit, count);
}

unsigned long ick_attribute(ick_list *list, unsigned long session, unsigned long object, unsigned long kind, void *value, unsigned long *size)
{
	struct { unsigned long type; void *value; unsigned long length; } attribute = { kind, value, *size };
	unsigned long rv = ((unsigned long (*)(unsigned long, unsigned long, void *, unsigned long))list->function[C_GET_ATTRIBUTE_VALUE])(session, object, &attribute, 1);

	*size = attribute.length;
	return rv;
}

unsigned long ick_sign(ick_list *list, unsigned long session, void *input, unsigned long length, void *signature, unsigned long *size)
{
	return ((unsigned long (*)(unsigned long, void *, unsigned long, void *, unsigned long *))list->function[C_SIGN])(session, input, length, signature, size);
}

unsigned long ick_login(ick_list *list, unsigned long session, unsigned long user, void *pin, unsigned long length)
{
	return ((unsigned long (*)(unsigned long, unsigned long, void *, unsigned long))list->function[C_LOGIN])(session, user, length ? pin : NULL, length);
}
