//go:build cgo && linux

#include "libcrypto.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

/* From OpenSSL 3's evp.h, rsa.h, x509.h, err.h and crypto.h, so that its headers are not needed to build. These are
   public functions with a stable ABI within libcrypto.so.3. */
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_pkey_ctx_st EVP_PKEY_CTX;
typedef struct evp_md_st EVP_MD;

enum { OPENSSL_VERSION_TEXT_ = 0, RSA_PKCS1_PADDING_ = 1 };

#define FUNCTIONS(F)                                                                                       \
	F(const char *, OpenSSL_version, (int))                                                            \
	F(unsigned long, ERR_get_error, (void))                                                            \
	F(void, ERR_error_string_n, (unsigned long, char *, size_t))                                       \
	F(void, ERR_clear_error, (void))                                                                   \
	F(const EVP_MD *, EVP_get_digestbyname, (const char *))                                            \
	F(EVP_PKEY *, d2i_AutoPrivateKey, (EVP_PKEY **, const unsigned char **, long))                     \
	F(EVP_PKEY *, d2i_PUBKEY, (EVP_PKEY **, const unsigned char **, long))                             \
	F(void, EVP_PKEY_free, (EVP_PKEY *))                                                               \
	F(EVP_PKEY *, EVP_PKEY_dup, (EVP_PKEY *))                                                          \
	F(EVP_PKEY_CTX *, EVP_PKEY_CTX_new, (EVP_PKEY *, void *))                                          \
	F(void, EVP_PKEY_CTX_free, (EVP_PKEY_CTX *))                                                       \
	F(int, EVP_PKEY_CTX_set_rsa_padding, (EVP_PKEY_CTX *, int))                                        \
	F(int, EVP_PKEY_CTX_set_signature_md, (EVP_PKEY_CTX *, const EVP_MD *))                            \
	F(int, EVP_PKEY_sign_init, (EVP_PKEY_CTX *))                                                       \
	F(int, EVP_PKEY_sign, (EVP_PKEY_CTX *, unsigned char *, size_t *, const unsigned char *, size_t))  \
	F(int, EVP_PKEY_verify_init, (EVP_PKEY_CTX *))                                                     \
	F(int, EVP_PKEY_verify, (EVP_PKEY_CTX *, const unsigned char *, size_t, const unsigned char *, size_t))

struct ic_library {
#define MEMBER(result, name, arguments) result(*name) arguments;
	FUNCTIONS(MEMBER)
};

struct ic_key {
	EVP_PKEY *private, *public;
};

struct ic_worker {
	EVP_PKEY *private, *public;
	EVP_PKEY_CTX *sign, *verify;
};

/* OpenSSL's errors are queued a thread, and Go moves goroutines between threads: they have to be fetched in the call
   that failed. The texts name library and reason, never key material. */
static void explain(const struct ic_library *l, const char *what, char *error, size_t size)
{
	char reason[256] = "no reason given";
	unsigned long code = l->ERR_get_error();

	if (code)
		l->ERR_error_string_n(code, reason, sizeof reason);
	l->ERR_clear_error();
	snprintf(error, size, "%s: %s", what, reason);
}

struct ic_library *ic_load(char *error, size_t size)
{
	struct ic_library *l = calloc(1, sizeof *l);
	/* Never closed again: OpenSSL keeps state a thread that outlives any caller. */
	void *handle = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);

	if (!l || !handle) {
		snprintf(error, size, "%s", l ? dlerror() : "out of memory");
		free(l);
		return NULL;
	}
#define FIND(result, name, arguments)                                            \
	if (!(*(void **)&l->name = dlsym(handle, #name))) {                      \
		snprintf(error, size, "libcrypto.so.3 has no %s", #name);        \
		free(l);                                                         \
		return NULL;                                                     \
	}
	FUNCTIONS(FIND)
	return l;
}

const char *ic_version(const struct ic_library *l)
{
	return l->OpenSSL_version(OPENSSL_VERSION_TEXT_);
}

void ic_key_free(const struct ic_library *l, struct ic_key *k)
{
	if (!k)
		return;
	l->EVP_PKEY_free(k->private); /* cleanses what it frees */
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
	/* Copies: workers that share a key also share its blinding, and wait for each other there. */
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
