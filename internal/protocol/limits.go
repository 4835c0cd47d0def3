package protocol

import "time"

// Limits of one message.
const (
	// MaxDigests is how many digests a request has at most.
	MaxDigests = 1024
	// MaxBody is the size in bytes of the largest message, in both directions.
	MaxBody = 1 << 20
	// MaxName is the length in bytes of the longest name of a key, an audience or a container.
	MaxName = 255
	// MaxPath is the length in bytes of the longest path in a claim, as in Linux.
	MaxPath = 4096
	// MaxAge is how far the time of a request may be from that of the service.
	MaxAge = 5 * time.Minute
	// IDSize is the length in bytes of the id of a request.
	IDSize = 16
)

const (
	maxElements = 2 * MaxDigests
	maxPairs    = 32
	maxNested   = 8
)

// Paths of the service below the URL of a server.
const (
	// SignPath takes an [Envelope] by POST and answers with an [Answer]. The name of the key is
	// in the request.
	SignPath = "/v1/sign"
	// KeyPath, followed by the name of a key, answers with its [KeyInfo].
	KeyPath = "/v1/keys/"
	// LogPath is the prefix of the log: LogPath + "checkpoint", and "tile/…" (C2SP tlog-tiles).
	LogPath = "/v1/log/"
)

// ContentType is the media type of messages.
const ContentType = "application/cbor"
