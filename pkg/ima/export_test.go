package ima

// Refusals that only tests of this package match.
const (
	ErrTrailing       = errTrailing
	ErrUnknownType    = errUnknownType
	ErrMalformedKeyID = errMalformedKeyID
	ErrNoIMAXattr     = errNoIMAXattr
	ErrHMAC           = errHMAC
	ErrOtherHash      = errOtherHash
	ErrIMAValue       = errIMAValue
	ErrVerity         = errVerity
)

// Ids and types that only tests of this package name.
const (
	MD4         = md4
	SHA3_384    = sha3_384
	Streebog256 = streebog256
	TypeEVMHMAC = typeEVMHMAC
)
