/*
 * Has libimaevm 1.4 in this process take keys from OpenSSL's engine pkcs11. libimaevm asks its
 * caller for the engine and the key id, as evmctl's --engine and --keyid; rpmsign sets neither.
 * RPMSIGN_KEYID has the key id in hexadecimal digits.
 */
#include <imaevm.h>
#include <openssl/engine.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((constructor)) static void use_engine(void)
{
	const char *keyid = getenv("RPMSIGN_KEYID");

	if (!keyid)
		return;
	imaevm_params.eng = ENGINE_by_id("pkcs11");
	if (!imaevm_params.eng || !ENGINE_init(imaevm_params.eng)) {
		fputs("OpenSSL has no engine pkcs11\n", stderr);
		exit(2);
	}
	imaevm_params.keyid = strtoul(keyid, NULL, 16);
}
