#ifndef IMASIGN_LIBCRYPTO_H
#define IMASIGN_LIBCRYPTO_H

#include <stddef.h>

/* The loaded library: its functions, found by name. */
struct ic_library;

/* A public key that signatures are verified with, and a private one if they are made here too. */
struct ic_key;

/* What one caller at a time signs and verifies with, for one hash. */
struct ic_worker;

enum { IC_OK = 0, IC_FAILED = 1, IC_MISMATCH = 2 };

/* Each function that can fail writes a text of at most size bytes to error. */

struct ic_library *ic_load(char *error, size_t size);
const char *ic_version(const struct ic_library *l);

/* private: PKCS #1 DER, or NULL; public: SubjectPublicKeyInfo DER. Nothing is kept of the buffers. */
struct ic_key *ic_key_new(const struct ic_library *l, const unsigned char *private, long private_size,
			  const unsigned char *public, long public_size, char *error, size_t size);
void ic_key_free(const struct ic_library *l, struct ic_key *k);

struct ic_worker *ic_worker_new(const struct ic_library *l, struct ic_key *k, const char *hash, int rsa, char *error, size_t size);
void ic_worker_free(const struct ic_library *l, struct ic_worker *w);

/* Signs count digests of digest_size bytes that follow each other, into signatures of signature_size bytes that
   follow each other, and verifies each. IC_MISMATCH: signed, but the public key disagrees. */
int ic_sign(const struct ic_library *l, struct ic_worker *w, size_t count, const unsigned char *digests, size_t digest_size,
	    unsigned char *signatures, size_t signature_size, char *error, size_t size);

/* Verifies count signatures of sizes[i] bytes that follow each other. */
int ic_verify(const struct ic_library *l, struct ic_worker *w, size_t count, const unsigned char *digests, size_t digest_size,
	      const unsigned char *signatures, const size_t *sizes, char *error, size_t size);

#endif
