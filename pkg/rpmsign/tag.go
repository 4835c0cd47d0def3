package rpmsign

import "fmt"

// Tag is the number of a header entry: rpm's include/rpm/rpmtag.h. Numbers below
// 1000 mean the same in both headers; from 1000 on those of the signature header
// are numbered apart.
type Tag uint32

// Tags that open a header and say which part of it is immutable.
const (
	tagHeaderImage      Tag = 61 // in the region trailer of some old signature headers
	tagHeaderSignatures Tag = 62
	tagHeaderImmutable  Tag = 63
	tagI18NTable        Tag = 100 // the lowest tag besides the region's
)

// Tags of the signature header.
const (
	tagDSA                 Tag = 267 // OpenPGP over the main header, all but RSA keys
	tagRSA                 Tag = 268 // OpenPGP over the main header, RSA keys
	tagSHA1                Tag = 269 // hex, over the main header
	tagLongSize            Tag = 270 // main header and payload, bytes
	tagLongArchiveSize     Tag = 271 // payload unpacked, bytes
	tagSHA256              Tag = 273 // hex, over the main header
	tagFileSignatures      Tag = 274 // hex security.ima values, one a file
	tagFileSignatureLength Tag = 275 // bytes of the longest one
	tagVeritySignatures    Tag = 276 // base64 fs-verity signatures, one a file
	tagVerityAlgorithm     Tag = 277
	tagOpenPGP             Tag = 278  // base64, over the main header, any key (v6)
	tagSHA3                Tag = 279  // SHA3-256, hex, over the main header (v6)
	tagReserved            Tag = 999  // room for signatures (v6)
	tagSize                Tag = 1000 // main header and payload, bytes
	tagPGP                 Tag = 1002 // OpenPGP over main header and payload, RSA keys
	tagMD5                 Tag = 1004 // over main header and payload
	tagGPG                 Tag = 1005 // OpenPGP over main header and payload, all but RSA keys
	tagPGP5                Tag = 1006
	tagPayloadSize         Tag = 1007 // payload unpacked, bytes
	tagReservedSpace       Tag = 1008 // room for signatures
)

// Tags of the main header.
const (
	tagName              Tag = 1000
	tagVersion           Tag = 1001
	tagRelease           Tag = 1002
	tagEpoch             Tag = 1003
	tagSummary           Tag = 1004
	tagBuildTime         Tag = 1006
	tagVendor            Tag = 1011
	tagLicense           Tag = 1014
	tagURL               Tag = 1020
	tagArch              Tag = 1022
	tagOldFileNames      Tag = 1027
	tagFileSizes         Tag = 1028
	tagFileModes         Tag = 1030
	tagFileDigests       Tag = 1035
	tagFileLinkTos       Tag = 1036
	tagFileFlags         Tag = 1037
	tagSourceRPM         Tag = 1044
	tagArchiveSize       Tag = 1046 // payload unpacked, bytes; of rpm 3
	tagFileDevices       Tag = 1095
	tagFileInodes        Tag = 1096
	tagSourcePackage     Tag = 1106
	tagDirIndexes        Tag = 1116
	tagBaseNames         Tag = 1117
	tagDirNames          Tag = 1118
	tagPayloadFormat     Tag = 1124
	tagPayloadCompressor Tag = 1125
	tagFileColors        Tag = 1140 // which files are ELF files
	tagFileClass         Tag = 1141 // indexes into the next one
	tagClassDict         Tag = 1142 // words of libmagic
	tagLongFileSizes     Tag = 5008
	tagFileDigestAlgo    Tag = 5011
	// Where rpm before 4.14 wrote file signatures, and later ones still read them.
	tagMainFileSignatures      Tag = 5090
	tagMainFileSignatureLength Tag = 5091
	tagPayloadSHA256           Tag = 5092
	tagPayloadSHA256Algo       Tag = 5093
	tagPayloadSHA256Alt        Tag = 5097
	tagCompressedSize          Tag = 5112 // payload as it lies in the file, bytes (v6)
	tagRPMFormat               Tag = 5114
	tagFileMIMEIndex           Tag = 5115 // indexes into the next one (v6)
	tagMIMEDict                Tag = 5116 // MIME types (v6)
	tagPayloadSHA512           Tag = 5121
	tagPayloadSHA512Alt        Tag = 5122
	tagPayloadSHA3             Tag = 5123
	tagPayloadSHA3Alt          Tag = 5124
)

// signatureTagName names the tags of a signature header, and those that stand for
// them in a main header, as rpm does.
func signatureTagName(t Tag) string {
	switch t {
	case tagHeaderSignatures:
		return "HEADERSIGNATURES"
	case tagDSA:
		return "DSAHEADER"
	case tagRSA:
		return "RSAHEADER"
	case tagSHA1:
		return "SHA1HEADER"
	case tagLongSize:
		return "LONGSIZE"
	case tagLongArchiveSize:
		return "LONGARCHIVESIZE"
	case tagSHA256:
		return "SHA256HEADER"
	case tagFileSignatures, tagMainFileSignatures:
		return "FILESIGNATURES"
	case tagFileSignatureLength, tagMainFileSignatureLength:
		return "FILESIGNATURELENGTH"
	case tagVeritySignatures:
		return "VERITYSIGNATURES"
	case tagVerityAlgorithm:
		return "VERITYSIGNATUREALGO"
	case tagOpenPGP:
		return "OPENPGP"
	case tagSHA3:
		return "SHA3_256HEADER"
	case tagReserved:
		return "RESERVED"
	case tagSize:
		return "SIZE"
	case tagPGP:
		return "PGP"
	case tagMD5:
		return "MD5"
	case tagGPG:
		return "GPG"
	case tagPGP5:
		return "PGP5"
	case tagPayloadSize:
		return "PAYLOADSIZE"
	case tagReservedSpace:
		return "RESERVEDSPACE"
	}
	return fmt.Sprintf("tag %d", t)
}

// dataType is how an entry's data are encoded: rpmTagType of include/rpm/rpmtag.h.
// Integers are big-endian.
type dataType uint32

const (
	typeChar        dataType = 1
	typeInt8        dataType = 2
	typeInt16       dataType = 3
	typeInt32       dataType = 4
	typeInt64       dataType = 5
	typeString      dataType = 6 // one, ended by NUL
	typeBin         dataType = 7
	typeStringArray dataType = 8 // each ended by NUL
	typeI18NString  dataType = 9 // one a locale of the header's table
)

// width is the size of one item in bytes, which also is its alignment; 0 for
// types whose items end with NUL, and for those that do not exist.
func (t dataType) width() uint32 {
	switch t {
	case typeChar, typeInt8, typeBin:
		return 1
	case typeInt16:
		return 2
	case typeInt32:
		return 4
	case typeInt64:
		return 8
	}
	return 0
}

func (t dataType) isString() bool {
	return t == typeString || t == typeStringArray || t == typeI18NString
}
