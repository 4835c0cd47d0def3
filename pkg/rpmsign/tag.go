package rpmsign

import "fmt"

// tagNumber is the number of a header entry (rpm's include/rpm/rpmtag.h). Numbers below
// 1000 mean the same in both headers. From 1000 on, the signature header has its own
// numbers.
type tagNumber uint32

// Tags at the start of a header, which say what part of it is immutable.
const (
	tagHeaderImage      tagNumber = 61 // only in the region trailer of some old signature headers
	tagHeaderSignatures tagNumber = 62
	tagHeaderImmutable  tagNumber = 63
	tagI18NTable        tagNumber = 100 // the lowest tag besides those of regions
)

// Tags of the signature header.
const (
	tagDSA                 tagNumber = 267 // OpenPGP over the main header, keys other than RSA
	tagRSA                 tagNumber = 268 // OpenPGP over the main header, RSA keys
	tagSHA1                tagNumber = 269 // hex, over the main header
	tagLongSize            tagNumber = 270 // main header and payload, bytes
	tagLongArchiveSize     tagNumber = 271 // payload unpacked, bytes
	tagSHA256              tagNumber = 273 // hex, over the main header
	tagFileSignatures      tagNumber = 274 // security.ima values in hex, one for each file
	tagFileSignatureLength tagNumber = 275 // bytes of the longest value
	tagVeritySignatures    tagNumber = 276 // fs-verity signatures in base64, one for each file
	tagVerityAlgorithm     tagNumber = 277
	tagOpenPGP             tagNumber = 278  // base64, over the main header, any key (v6)
	tagSHA3                tagNumber = 279  // SHA3-256, hex, over the main header (v6)
	tagReserved            tagNumber = 999  // room for signatures (v6)
	tagSize                tagNumber = 1000 // main header and payload, bytes
	tagPGP                 tagNumber = 1002 // OpenPGP over main header and payload, RSA keys
	tagMD5                 tagNumber = 1004 // over main header and payload
	tagGPG                 tagNumber = 1005 // OpenPGP over main header and payload, keys other than RSA
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
	tagFileRdevs         tagNumber = 1033 // device numbers of device nodes
	tagFileDigests       tagNumber = 1035
	tagFileLinkTos       tagNumber = 1036
	tagFileFlags         tagNumber = 1037
	tagSourceRPM         tagNumber = 1044
	tagArchiveSize       tagNumber = 1046 // payload unpacked, bytes (rpm 3)
	tagFileDevices       tagNumber = 1095
	tagFileInodes        tagNumber = 1096
	tagSourcePackage     tagNumber = 1106
	tagDirIndexes        tagNumber = 1116
	tagBaseNames         tagNumber = 1117
	tagDirNames          tagNumber = 1118
	tagPayloadFormat     tagNumber = 1124
	tagPayloadCompressor tagNumber = 1125
	tagFileColors        tagNumber = 1140 // which files are ELF files
	tagFileClass         tagNumber = 1141 // indexes into tagClassDict
	tagClassDict         tagNumber = 1142 // descriptions by libmagic
	tagLongFileSizes     tagNumber = 5008
	tagFileDigestAlgo    tagNumber = 5011
	// rpm before 4.14 wrote file signatures here. Later versions still read them.
	tagMainFileSignatures      tagNumber = 5090
	tagMainFileSignatureLength tagNumber = 5091
	tagPayloadSHA256           tagNumber = 5092
	tagPayloadSHA256Algo       tagNumber = 5093
	tagPayloadSHA256Alt        tagNumber = 5097
	tagCompressedSize          tagNumber = 5112 // payload as packed, bytes (v6)
	tagRPMFormat               tagNumber = 5114
	tagFileMIMEIndex           tagNumber = 5115 // indexes into tagMIMEDict (v6)
	tagMIMEDict                tagNumber = 5116 // MIME types (v6)
	tagPayloadSHA512           tagNumber = 5121
	tagPayloadSHA512Alt        tagNumber = 5122
	tagPayloadSHA3             tagNumber = 5123
	tagPayloadSHA3Alt          tagNumber = 5124
)

// signatureTagName returns rpm's name of a tag of the signature header, or of the tag that
// stands for it in the main header.
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

// dataType is the encoding of an entry's data (rpmTagType of include/rpm/rpmtag.h).
// Integers are big-endian.
type dataType uint32

const (
	typeChar        dataType = 1
	typeInt8        dataType = 2
	typeInt16       dataType = 3
	typeInt32       dataType = 4
	typeInt64       dataType = 5
	typeString      dataType = 6 // one string, ended by NUL
	typeBin         dataType = 7
	typeStringArray dataType = 8 // each ended by NUL
	typeI18NString  dataType = 9 // one string for each locale of the header's table
)

// width returns the size of one item in bytes, which is also its alignment. It is 0 for
// strings and for types that do not exist.
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
