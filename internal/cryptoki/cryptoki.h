/* The calls of PKCS#11 2.40 that are made here, without its headers: CK_ULONG is
   unsigned long, and structures are laid out as the compiler does (on Unix). */
#ifndef IMASIGN_CRYPTOKI_H
#define IMASIGN_CRYPTOKI_H

typedef struct { /* CK_FUNCTION_LIST: a version, then 68 functions */
	unsigned char major, minor;
	void (*function[68])(void);
} ick_list;

enum { ICK_OK, ICK_NOTHING, ICK_NO_MODULE };

int ick_load(const char *path, ick_list **list);
unsigned long ick_slots(ick_list *list, unsigned long *slots, unsigned long *count);
unsigned long ick_find(ick_list *list, unsigned long session, unsigned long *objects, unsigned long limit, unsigned long *count);
unsigned long ick_attribute(ick_list *list, unsigned long session, unsigned long object, unsigned long kind, void *value, unsigned long *size);
unsigned long ick_sign(ick_list *list, unsigned long session, void *input, unsigned long length, void *signature, unsigned long *size);
unsigned long ick_login(ick_list *list, unsigned long session, unsigned long user, void *pin, unsigned long length);

#endif
