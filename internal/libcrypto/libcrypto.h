#ifndef IMASIGN_LIBCRYPTO_H
#define IMASIGN_LIBCRYPTO_H

#include <stddef.h>

/* Copied from OpenSSL 3's evp.h, rsa.h, x509.h, err.h and crypto.h, so that building does not need its headers. These
   public functions have a stable ABI within libcrypto.so.3. */
typedef struct evp_pkey_st EVP_PKEY;
typedef struct evp_pkey_ctx_st EVP_PKEY_CTX;
typedef struct evp_md_st EVP_MD;

#define IC_FUNCTIONS(F)                                                                                       \
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

/* The functions of the loaded library, found by name. */
struct ic_library {
#define IC_MEMBER(result, name, arguments) result(*name) arguments;
	IC_FUNCTIONS(IC_MEMBER)
#undef IC_MEMBER
};

/* A public key to verify with, and optionally a private key to sign with. */
struct ic_key;

/* Contexts to sign and verify digests of one hash. For one caller at a time. */
struct ic_worker;

enum { IC_OK = 0, IC_FAILED = 1, IC_MISMATCH = 2 };

/* Each function that can fail then writes a text of at most size bytes to error. */

/* Opens libcrypto.so.3 and fills l. The caller keeps l. */
int ic_load(struct ic_library *l, char *error, size_t size);
const char *ic_version(const struct ic_library *l);

/* private: PKCS #1 DER, or NULL; public: SubjectPublicKeyInfo DER. The buffers are not kept. */
struct ic_key *ic_key_new(const struct ic_library *l, const unsigned char *private, long private_size,
			  const unsigned char *public, long public_size, char *error, size_t size);
void ic_key_free(const struct ic_library *l, struct ic_key *k);

struct ic_worker *ic_worker_new(const struct ic_library *l, struct ic_key *k, const char *hash, int rsa, char *error, size_t size);
void ic_worker_free(const struct ic_library *l, struct ic_worker *w);

/* Signs count concatenated digests of digest_size bytes, writes concatenated signatures of signature_size bytes, and
   verifies each. IC_MISMATCH: a signature does not verify with the public key. */
int ic_sign(const struct ic_library *l, struct ic_worker *w, size_t count, const unsigned char *digests, size_t digest_size,
	    unsigned char *signatures, size_t signature_size, char *error, size_t size);

/* Verifies count concatenated signatures of sizes[i] bytes. */
int ic_verify(const struct ic_library *l, struct ic_worker *w, size_t count, const unsigned char *digests, size_t digest_size,
	      const unsigned char *signatures, const size_t *sizes, char *error, size_t size);

#endif
