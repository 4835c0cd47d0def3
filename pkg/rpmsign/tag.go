package rpmsign

import "fmt"

// tagNumber is the number of a header entry: rpm's include/rpm/rpmtag.h. Numbers below
// 1000 mean the same in both headers; from 1000 on those of the signature header
// are numbered apart.
type tagNumber uint32

// Tags that open a header and say which part of it is immutable.
const (
	tagHeaderImage      tagNumber = 61 // in the region trailer of some old signature headers
	tagHeaderSignatures tagNumber = 62
	tagHeaderImmutable  tagNumber = 63
	tagI18NTable        tagNumber = 100 // the lowest tag besides the region's
)

// Tags of the signature header.
const (
	tagDSA                 tagNumber = 267 // OpenPGP over the main header, all but RSA keys
	tagRSA                 tagNumber = 268 // OpenPGP over the main header, RSA keys
	tagSHA1                tagNumber = 269 // hex, over the main header
	tagLongSize            tagNumber = 270 // main header and payload, bytes
	tagLongArchiveSize     tagNumber = 271 // payload unpacked, bytes
	tagSHA256              tagNumber = 273 // hex, over the main header
	tagFileSignatures      tagNumber = 274 // hex security.ima values, one a file
	tagFileSignatureLength tagNumber = 275 // bytes of the longest one
	tagVeritySignatures    tagNumber = 276 // base64 fs-verity signatures, one a file
	tagVerityAlgorithm     tagNumber = 277
	tagOpenPGP             tagNumber = 278  // base64, over the main header, any key (v6)
	tagSHA3                tagNumber = 279  // SHA3-256, hex, over the main header (v6)
	tagReserved            tagNumber = 999  // room for signatures (v6)
	tagSize                tagNumber = 1000 // main header and payload, bytes
	tagPGP                 tagNumber = 1002 // OpenPGP over main header and payload, RSA keys
	tagMD5                 tagNumber = 1004 // over main header and payload
	tagGPG                 tagNumber = 1005 // OpenPGP over main header and payload, all but RSA keys
	tagPGP5                tagNumber = 1006
	tagPayloadSize         tagNumber = 1007 // payload unpacked, bytes
	tagReservedSpace       tagNumber = 1008 // room for signatures
)

// Tags of the main header.
const (
	tagName              tagNumber = 1000
	tagVersion           tagNumber = 1001
	tagRelease           tagNumber = 1002
	tagEpoch             tagNumber = 1003
	tagSummary           tagNumber = 1004
	tagBuildTime         tagNumber = 1006
	tagVendor            tagNumber = 1011
	tagLicense           tagNumber = 1014
	tagArch              tagNumber = 1022
	tagOldFileNames      tagNumber = 1027
	tagFileSizes         tagNumber = 1028
	tagFileModes         tagNumber = 1030
	tagFileDigests       tagNumber = 1035
	tagFileLinkTos       tagNumber = 1036
	tagFileFlags         tagNumber = 1037
	tagSourceRPM         tagNumber = 1044
	tagArchiveSize       tagNumber = 1046 // payload unpacked, bytes; of rpm 3
	tagFileDevices       tagNumber = 1095
	tagFileInodes        tagNumber = 1096
	tagSourcePackage     tagNumber = 1106
	tagDirIndexes        tagNumber = 1116
	tagBaseNames         tagNumber = 1117
	tagDirNames          tagNumber = 1118
	tagPayloadFormat     tagNumber = 1124
	tagPayloadCompressor tagNumber = 1125
	tagFileColors        tagNumber = 1140 // which files are ELF files
	tagFileClass         tagNumber = 1141 // indexes into the next one
	tagClassDict         tagNumber = 1142 // words of libmagic
	tagLongFileSizes     tagNumber = 5008
	tagFileDigestAlgo    tagNumber = 5011
	// Where rpm before 4.14 wrote file signatures, and later ones still read them.
	tagMainFileSignatures      tagNumber = 5090
	tagMainFileSignatureLength tagNumber = 5091
	tagPayloadSHA256           tagNumber = 5092
	tagPayloadSHA256Algo       tagNumber = 5093
	tagPayloadSHA256Alt        tagNumber = 5097
	tagCompressedSize          tagNumber = 5112 // payload as it lies in the file, bytes (v6)
	tagRPMFormat               tagNumber = 5114
	tagFileMIMEIndex           tagNumber = 5115 // indexes into the next one (v6)
	tagMIMEDict                tagNumber = 5116 // MIME types (v6)
	tagPayloadSHA512           tagNumber = 5121
	tagPayloadSHA512Alt        tagNumber = 5122
	tagPayloadSHA3             tagNumber = 5123
	tagPayloadSHA3Alt          tagNumber = 5124
)

// signatureTagName names the tags of a signature header, and those that stand for
// them in a main header, as rpm does.
func signatureTagName(t tagNumber) string {
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
