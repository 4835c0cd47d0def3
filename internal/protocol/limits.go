package protocol

import "time"

// Limits of one message.
const (
	// MaxDigests is how many digests a request has at most.
	MaxDigests = 1024
	// MaxBody is the size in bytes of the largest request.
	MaxBody = 1 << 20
	// MaxAnswer is the size in bytes of the largest answer: with ML-DSA-87, a signature has
	// 4,627 bytes.
	MaxAnswer = 8 << 20
	// MaxRefusal is the size in bytes of the largest refusal, MaxMessage that of its text.
	MaxRefusal = 64 << 10
	MaxMessage = 4096
	// MaxRecord is the size in bytes of the largest record. Entries of a C2SP log have at most
	// 65,535.
	MaxRecord = 65535
	// MaxDetails is the size in bytes of the largest details.
	MaxDetails = 2 * MaxBody
	// MaxFind is how many leaves one question to a log has at most.
	MaxFind = MaxBody / 32
	// MaxName is the length in bytes of the longest name of a key, a requester, a rule, an
	// audience or the kind of a container.
	MaxName = 255
	// MaxPath is the length in bytes of the longest path in a claim, as in Linux.
	MaxPath = 4096
	// MaxIMA is the length in bytes of the longest value of security.ima in a claim.
	MaxIMA = 8192
	// MaxAge is how far the time of a request may be from that of the service.
	MaxAge = 5 * time.Minute
	// IDSize is the length in bytes of the id of a request.
	IDSize = 16
)

const (
	maxElements = MaxDigests
	maxPairs    = 32
	maxNested   = 8
)

// Paths of the service below the URL of a server.
const (
	// SignPath takes a request as [Seal] makes it by POST and answers with an [Answer]. The name of the key is
	// in the request.
	SignPath = "/v1/sign"
	// KeyPath, followed by the name of a key, answers with its [KeyInfo].
	KeyPath = "/v1/keys/"
	// LogPath is the prefix of the log: LogPath + "checkpoint", and "tile/…" (C2SP tlog-tiles),
	// "details/" and the index of a record in decimal: its encoded [Details]; and "find", which
	// takes hashes of leaves by POST, see [EncodeFound].
	LogPath = "/v1/log/"
)

// ContentType is the media type of messages.
const ContentType = "application/cbor"
