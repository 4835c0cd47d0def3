//go:build cgo && linux

#include "libcrypto.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { OPENSSL_VERSION_TEXT_ = 0, RSA_PKCS1_PADDING_ = 1 };

struct ic_key {
	EVP_PKEY *private, *public;
};

struct ic_worker {
	EVP_PKEY *private, *public;
	EVP_PKEY_CTX *sign, *verify;
};

/* OpenSSL queues errors for each thread, and Go moves goroutines between threads. Therefore the call that failed must
   fetch them. The texts name the library and the reason, never key material. */
static void explain(const struct ic_library *l, const char *what, char *error, size_t size)
{
	char reason[256] = "no reason given";
	unsigned long code = l->ERR_get_error();

	if (code)
		l->ERR_error_string_n(code, reason, sizeof reason);
	l->ERR_clear_error();
	snprintf(error, size, "%s: %s", what, reason);
}

int ic_load(struct ic_library *l, char *error, size_t size)
{
	/* Never closed: OpenSSL keeps state for each thread, and the state outlives any caller. */
	void *handle = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);

	if (!handle) {
		snprintf(error, size, "%s", dlerror());
		return IC_FAILED;
	}
#define FIND(result, name, arguments)                                            \
	if (!(*(void **)&l->name = dlsym(handle, #name))) {                      \
		snprintf(error, size, "libcrypto.so.3 has no %s", #name);        \
		return IC_FAILED;                                                \
	}
	IC_FUNCTIONS(FIND)
	return IC_OK;
}

const char *ic_version(const struct ic_library *l)
{
	return l->OpenSSL_version(OPENSSL_VERSION_TEXT_);
}

void ic_key_free(const struct ic_library *l, struct ic_key *k)
{
	if (!k)
		return;
	l->EVP_PKEY_free(k->private); /* overwrites the key */
	l->EVP_PKEY_free(k->public);
	free(k);
}

struct ic_key *ic_key_new(const struct ic_library *l, const unsigned char *private, long private_size,
			  const unsigned char *public, long public_size, char *error, size_t size)
{
	struct ic_key *k = calloc(1, sizeof *k);

	if (!k) {
		snprintf(error, size, "out of memory");
		return NULL;
	}
	k->public = l->d2i_PUBKEY(NULL, &public, public_size);
	if (private)
		k->private = l->d2i_AutoPrivateKey(NULL, &private, private_size);
	if (!k->public || (private && !k->private)) {
		explain(l, k->public ? "read private key" : "read public key", error, size);
		ic_key_free(l, k);
		return NULL;
	}
	return k;
}

void ic_worker_free(const struct ic_library *l, struct ic_worker *w)
{
	if (!w)
		return;
	l->EVP_PKEY_CTX_free(w->sign);
	l->EVP_PKEY_CTX_free(w->verify);
	l->EVP_PKEY_free(w->private);
	l->EVP_PKEY_free(w->public);
	free(w);
}

static int prepare(const struct ic_library *l, EVP_PKEY_CTX *c, int (*init)(EVP_PKEY_CTX *), const EVP_MD *md, int rsa)
{
	return c && init(c) > 0 && (!rsa || l->EVP_PKEY_CTX_set_rsa_padding(c, RSA_PKCS1_PADDING_) > 0) &&
	       l->EVP_PKEY_CTX_set_signature_md(c, md) > 0;
}

struct ic_worker *ic_worker_new(const struct ic_library *l, struct ic_key *k, const char *hash, int rsa, char *error, size_t size)
{
	const EVP_MD *md = l->EVP_get_digestbyname(hash);
	struct ic_worker *w = calloc(1, sizeof *w);

	if (!w || !md) {
		snprintf(error, size, "%s", w ? "libcrypto has no such hash" : "out of memory");
		free(w);
		return NULL;
	}
	/* Copies, because workers that share a key also share its blinding, and wait for each other to use it. */
	w->private = k->private ? l->EVP_PKEY_dup(k->private) : NULL;
	w->public = l->EVP_PKEY_dup(k->public);
	w->sign = w->private ? l->EVP_PKEY_CTX_new(w->private, NULL) : NULL;
	w->verify = w->public ? l->EVP_PKEY_CTX_new(w->public, NULL) : NULL;
	if ((k->private && !prepare(l, w->sign, l->EVP_PKEY_sign_init, md, rsa)) ||
	    !prepare(l, w->verify, l->EVP_PKEY_verify_init, md, rsa)) {
		explain(l, "prepare the key", error, size);
		ic_worker_free(l, w);
		return NULL;
	}
	return w;
}

int ic_sign(const struct ic_library *l, struct ic_worker *w, size_t count, const unsigned char *digests, size_t digest_size,
	    unsigned char *signatures, size_t signature_size, char *error, size_t size)
{
	for (size_t i = 0; i < count; i++, digests += digest_size, signatures += signature_size) {
		size_t written = signature_size;

		if (l->EVP_PKEY_sign(w->sign, signatures, &written, digests, digest_size) <= 0 || written != signature_size) {
			explain(l, "sign", error, size);
			return IC_FAILED;
		}
		if (l->EVP_PKEY_verify(w->verify, signatures, signature_size, digests, digest_size) != 1) {
			explain(l, "verify", error, size);
			return IC_MISMATCH;
		}
	}
	return IC_OK;
}

int ic_verify(const struct ic_library *l, struct ic_worker *w, size_t count, const unsigned char *digests, size_t digest_size,
	      const unsigned char *signatures, const size_t *sizes, char *error, size_t size)
{
	for (size_t i = 0; i < count; i++, digests += digest_size, signatures += *sizes++) {
		if (l->EVP_PKEY_verify(w->verify, signatures, *sizes, digests, digest_size) != 1) {
			explain(l, "verify", error, size);
			return IC_MISMATCH;
		}
	}
	return IC_OK;
}
