package signd

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/imasign/imasign-build/cmd/imasign-build/internal/signd/rules"
	"github.com/imasign/imasign-build/internal/protocol"
	"github.com/imasign/imasign-build/pkg/ima"
)

// sign answers a request for signatures.
func (s *Server) sign(w http.ResponseWriter, r *http.Request) {
	s.batches.add(1) // before the look at draining, which is set before batches are waited for
	defer s.batches.add(-1)
	if s.draining.Load() {
		s.refuse(w, r, nil, protocol.Refuse(protocol.Draining, "this server is about to end"), 0)
		return
	}
	peers, refusal := s.peer(s.policy.Load(), r)
	if refusal != nil {
		s.refuse(w, r, nil, refusal, 0)
		return
	}
	size, refusal := bodySize(r.ContentLength)
	if refusal != nil {
		s.refuse(w, r, nil, refusal, 0)
		return
	}
	if refusal, wait := s.busy(peers); refusal != nil {
		s.refuse(w, r, nil, refusal, wait)
		return
	}
	certificate := SPKI(r.TLS.PeerCertificates[0])
	release, ok := s.bodies.take(certificate, size)
	if !ok {
		s.refuse(w, r, nil, protocol.Refuse(protocol.Busy, "too many requests at a time"), 0)
		return
	}
	defer release()
	body, refusal := readBody(r.Body, size)
	if refusal != nil {
		s.refuse(w, r, nil, refusal, 0)
		return
	}
	p := s.policy.Load() // the one of before the body may no longer be in force: that takes seconds
	requesters, refusal := s.peer(p, r)
	if refusal != nil {
		s.refuse(w, r, nil, refusal, 0)
		return
	}
	j := &job{server: s, policy: p, peers: requesters, certificate: certificate, received: time.Now(), release: func() {}}
	defer func() { j.release() }()
	answer, refusal := j.run(r.Context(), body)
	if refusal != nil {
		s.refuse(w, r, j, refusal, j.wait)
		return
	}
	if r.Context().Err() != nil {
		s.metrics.lost.Add(1)
	}
	respond(w, http.StatusOK, answer)
}

// readBody reads a request of at most size bytes, for which there is memory.
func readBody(body io.Reader, size int64) ([]byte, *protocol.RefusedError) {
	data := make([]byte, 0, size)
	for {
		if len(data) == cap(data) { // the end, or one byte too many
			var more [1]byte
			n, err := io.ReadFull(body, more[:])
			switch {
			case n > 0:
				return nil, tooLarge()
			case errors.Is(err, io.EOF):
				return data, nil
			}
			return nil, unread(err)
		}
		n, err := body.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		switch {
		case errors.Is(err, io.EOF):
			return data, nil
		case err != nil:
			return nil, unread(err)
		}
	}
}

func unread(err error) *protocol.RefusedError {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return protocol.Refuse(protocol.Malformed, "the request did not arrive within %s", readTimeout)
	}
	return protocol.Refuse(protocol.Malformed, "the request did not arrive: %v", err)
}

// job is one request on its way.
type job struct {
	server   *Server
	policy   *Policy
	peers    []*Requester
	received time.Time

	certificate [sha256.Size]byte // of the client
	request     *protocol.Request
	requester   *Requester // nil until it is known
	key         *Key       // nil until it is known
	form        ima.Form
	wait        time.Duration // when to ask again, for a refusal
	release     func()        // gives back the memory of the answer
}

// run decides about a request and signs it. It returns the encoded answer.
func (j *job) run(ctx context.Context, body []byte) ([]byte, *protocol.RefusedError) {
	if refusal := j.open(body); refusal != nil {
		return nil, refusal
	}
	if refusal := j.check(); refusal != nil {
		return nil, refusal
	}
	grant, err := j.policy.Judge.Judge(ctx, j.request, j.requester.Name, j.key.public, j.received)
	if err != nil {
		return nil, refusalOf(ctx, err)
	}
	for i := range j.request.Origins { // large, and not needed while the batch waits
		j.request.Origins[i].Header, j.request.Origins[i].Signature = nil, nil
	}
	answer, refusal := j.grant(ctx, &grant)
	if refusal != nil {
		grant.Release()
	}
	return answer, refusal
}

// open finds out who made the request.
func (j *job) open(body []byte) *protocol.RefusedError {
	j.server.opening <- struct{}{}
	r, err := protocol.Open(body)
	<-j.server.opening
	switch {
	case errors.Is(err, protocol.ErrSignature):
		return protocol.Refuse(protocol.BadSignature, "%v", err)
	case err != nil:
		return protocol.Refuse(protocol.Malformed, "%v", err)
	}
	j.request = r
	requester := j.policy.byKey(r.Requester)
	if requester == nil {
		return protocol.Refuse(protocol.UnknownRequester, "no requester has the key that the request is signed with")
	}
	if !slices.Contains(j.peers, requester) {
		return protocol.Refuse(protocol.WrongCertificate, "the client certificate is not the one of requester %s", requester.Name)
	}
	j.requester = requester
	return nil
}

// check checks what holds for all rules.
func (j *job) check() *protocol.RefusedError {
	r := j.request
	if !slices.Contains(j.policy.Audiences, r.Audience) {
		return protocol.Refuse(protocol.WrongAudience, "the request is for %s, which this server is not", r.Audience)
	}
	if age := j.received.Sub(r.At()); age > protocol.MaxAge || age < -protocol.MaxAge {
		return protocol.Refuse(protocol.WrongTime, "the clocks of client and server differ by %s: set them", age.Abs().Round(time.Second))
	}
	if refusal, wait := j.server.ids.add(r.Requester, r.ID, r.At().Add(protocol.MaxAge), j.received); refusal != nil {
		j.wait = wait
		return refusal
	}
	key, known := j.server.keys[r.Key]
	if !known {
		return protocol.Refuse(protocol.UnknownKey, "there is no key %s", r.Key)
	}
	j.key = key
	form, err := r.Form()
	if err != nil {
		return protocol.Refuse(protocol.Malformed, "%v", err)
	}
	if purpose := key.public.Purpose(); !purpose.Allows(form) {
		return protocol.Refuse(protocol.WrongForm, "key %s is for %s, not for version %d in %s", key.name, purpose, form.Version, form.Xattr)
	}
	j.form = form
	return nil
}

// refusalOf returns the refusal in an error. Other errors mean that the client is gone.
func refusalOf(ctx context.Context, err error) *protocol.RefusedError {
	var refusal *protocol.RefusedError
	switch {
	case errors.As(err, &refusal):
		return refusal
	case ctx.Err() != nil:
		return protocol.Refuse(protocol.Busy, "the client is gone")
	}
	return protocol.Refuse(protocol.KeyFailed, "the request could not be decided: %v", err)
}

// grant signs the digests, and returns the answer when the log has them.
func (j *job) grant(ctx context.Context, grant *rules.Grant) ([]byte, *protocol.RefusedError) {
	if refusal := j.key.usable(ctx); refusal != nil {
		j.wait = firstRetry
		return nil, refusal
	}
	digests, space, who := j.request.Split(), recordSpace(j.request), j.requester.Name
	forget, ok := j.server.answers.take(j.certificate, space+int64(len(digests)*j.key.public.MaxValueSize()))
	if !ok {
		return nil, protocol.Refuse(protocol.Busy, "too many answers that are not read yet")
	}
	j.release = forget
	if refusal, wait := j.key.queue.admit(who, len(digests)); refusal != nil {
		j.wait = wait
		return nil, refusal
	}
	release, err := j.server.log.Reserve(space)
	if err != nil {
		j.key.queue.leave(who, len(digests))
		return nil, j.server.logFailed(err)
	}
	defer release()
	signatures, err := j.key.batch(ctx, who, j.form, ima.HashID(j.request.Hash), digests)
	if err != nil {
		return nil, refusalOf(ctx, err)
	}
	return j.answer(ctx, grant, digests, signatures)
}

// answer makes the record of a batch, and the answer.
func (j *job) answer(ctx context.Context, grant *rules.Grant, digests, signatures [][]byte) ([]byte, *protocol.RefusedError) {
	a := protocol.Answer{Version: protocol.Version, ID: j.request.ID, Signatures: signatures}
	leaves := make([]tlog.Hash, len(signatures))
	for i, signature := range signatures {
		leaves[i] = protocol.Leaf(j.key.spki, j.request.Type, j.request.Signature, j.request.Hash, digests[i], signature)
	}
	receipt, err := j.server.records.granted(ctx, j, grant, leaves)
	if err != nil {
		return nil, j.server.logFailed(err)
	}
	a.Receipt = *receipt
	body, err := a.Encode()
	if err != nil {
		return nil, j.server.logFailed(err)
	}
	j.key.meter.granted(len(signatures))
	return body, nil
}

func (s *Server) logFailed(err error) *protocol.RefusedError {
	s.metrics.logErrors.Add(1)
	s.metrics.logDown.Store(true)
	s.records.note("failures of the log", "the log cannot be written, so nothing is signed: "+err.Error())
	return protocol.Refuse(protocol.LogFailed, "the log of the service cannot be written; the service's own log says more")
}

// refuse answers with a refusal, counts it, and leaves a record of it. j is nil before the
// request was read.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, j *job, refusal *protocol.RefusedError, wait time.Duration) {
	s.metrics.refused(refusal.Code)
	s.records.refused(r.Context(), j, refusal)
	body, err := refusal.Encode()
	if err != nil { // a text can be encoded
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if refusal.Code.Elsewhere() {
		seconds := max(int(math.Ceil(wait.Seconds())), 1)
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	_ = r.Body.Close()
	respond(w, refusal.Code.Status(), body)
}
