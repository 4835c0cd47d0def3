package signing

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/imasign/imasign-build/pkg/ima"
)

// Engine digests, signs and verifies entries. It is safe for concurrent use, and
// containers that are signed with one Engine share what was signed already or is
// about to be: of two plans that meet the same digest at the same time one waits
// for the other's signature, and makes its own should the other plan fail.
type Engine struct {
	signer  ima.Signer
	public  *ima.PublicKey
	hash    ima.HashID
	jobs    int
	signers int
	force   bool
	from    ima.KeyID // 0 for none
	spool   string
	observe Observer
	memo    *memo
}

// Options of New. The zero value digests with SHA-256 on every core and signs
// nothing, which is enough for Verify, Apply and a dry run.
type Options struct {
	// Signer makes the signatures, which are checked with Public, the key that the
	// kernel will check them with. Without a Signer plans state what would be
	// signed; without Public either, every signature found counts as replaceable.
	Signer ima.Signer
	Public *ima.PublicKey
	// Hash is the digest algorithm where the container does not state digests;
	// zero stands for SHA-256.
	Hash ima.HashID
	// Jobs is how many files are digested at a time, Signers how many batches are
	// signed at a time; zero stands for one a core.
	Jobs, Signers int
	// Force lets values be replaced that are, or may be, somebody else's
	// (ErrOtherKey, ErrNotOurs).
	Force bool
	// From, unless it is zero, makes Plan a rotation: signatures of the key with this
	// id, and nothing else, are replaced by new ones. What has no signature stays so.
	// Whether the old signatures hold is not looked at: without the old certificate
	// nobody could tell, so verify with it first.
	From ima.KeyID
	// SpoolDir is where large plans are spooled; "" stands for os.TempDir.
	SpoolDir string
	Observe  Observer
}

// New checks the options and returns an Engine.
func New(o Options) (*Engine, error) {
	if o.Hash == 0 {
		o.Hash = ima.SHA256
	}
	if o.Signer != nil && o.Public == nil {
		return nil, errors.New("a signer without the public key that its signatures are checked with")
	}
	if !computable(o.Hash) {
		return nil, fmt.Errorf("%s: %w: this program can name it, but not compute it", o.Hash, ima.ErrUnsupportedHash)
	}
	if err := o.Hash.CheckSigns(); o.Signer != nil && err != nil {
		return nil, err
	}
	switch {
	case o.From != 0 && o.Force:
		return nil, errors.New("signatures of one key, or of any, are to be replaced: not both")
	case o.From != 0 && o.Public != nil && o.Public.ID() == o.From:
		return nil, fmt.Errorf("the key to be replaced, %s, is the one that signs", o.From)
	}
	cores := runtime.GOMAXPROCS(0)
	return &Engine{
		signer: o.Signer, public: o.Public, hash: o.Hash, force: o.Force, from: o.From, spool: o.SpoolDir, observe: o.Observe,
		jobs: positive(o.Jobs, cores), signers: positive(o.Signers, cores), memo: newMemo(),
	}, nil
}

func positive(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// Plan digests src's entries, signs what needs a signature and returns the plan,
// which the caller closes. Failures of single files are collected (Errors) and
// then fail the whole plan: signatures for a part of a container help nobody.
func (e *Engine) Plan(ctx context.Context, src Source) (*Plan, error) {
	return e.plan(ctx, src, worker{work: e.digestAndJudge, linked: e.judgeLink})
}

// judgeLink refuses to replace a value that a further name of a hard link has of its
// own, as entries of archives can.
func (e *Engine) judgeLink(j *job) {
	if len(j.Second) == 0 || e.force || j.status != Signed && j.status != Hashed {
		return
	}
	if why := e.compare(j.Second, j).refusal; why != nil {
		j.err = e.refuse(j.Path, why)
	}
}

// Strip returns the plan of removing security.ima, and security.evm whose
// signature would cover a security.ima that is gone.
func (e *Engine) Strip(ctx context.Context, src Source) (*Plan, error) {
	plan, err := e.plan(ctx, src, worker{work: stripped})
	if err != nil {
		return nil, err
	}
	plan.strips = true
	return plan, nil
}

func stripped(ctx context.Context, _ *digester, j *job) {
	if j.Digest == nil { // only the open file tells its xattrs
		content, err := j.open(ctx)
		if content != nil {
			err = content.Close()
		}
		if j.err = err; err != nil || j.Reason != "" {
			return
		}
	}
	for _, name := range []string{ima.XattrIMA, ima.XattrEVM} {
		if _, there := j.Xattrs[name]; there {
			j.decide(Stripped, name, nil)
		}
	}
	if j.values == nil {
		j.Reason = "nothing to strip"
	}
}

// digestAndJudge computes the entry's digest and decides what becomes of it,
// short of the signing.
func (e *Engine) digestAndJudge(ctx context.Context, d *digester, j *job) {
	if j.Digest == nil {
		j.Hash = e.hash
		if j.err = j.digest(ctx, d); j.err != nil || j.Reason != "" {
			return
		}
	} else if len(j.Digest) != j.Hash.Size() {
		j.err = fmt.Errorf("%s: %w: %d bytes are stated, %s has %d", j.Path, ima.ErrDigestSize, len(j.Digest), j.Hash, j.Hash.Size())
		return
	}
	old := j.Xattrs[ima.XattrIMA]
	now := e.compare(old, j)
	if len(j.Second) > 0 && !now.unchanged && now.refusal == nil {
		now.refusal = e.compare(j.Second, j).refusal
	}
	if j.replaced = now.replaced; now.refusal != nil && e.force {
		j.replaced = NotOurs
	}
	switch {
	case now.unchanged:
		j.decide(Unchanged, ima.XattrIMA, old)
	case now.refusal != nil && !e.force:
		j.err = e.refuse(j.Path, now.refusal)
	case e.from != 0 && !e.rotates(j, old):
	case j.HashOnly:
		j.decide(Hashed, ima.XattrIMA, ima.DigestValue(j.Hash, j.Digest))
	case !j.Hash.SignsAllowed():
		j.err = fmt.Errorf("%s: no signature is made over its digest: %w", j.Path, j.Hash.CheckSigns())
	default:
		j.status = Signed
	}
}

// rotates reports whether the entry has a signature of the key that is being
// replaced. What has none stays as it is; a value that does not hold is an error,
// as nothing tells what it was.
func (e *Engine) rotates(j *job, old []byte) bool {
	v, err := ima.Parse(old)
	switch {
	case len(old) == 0:
		j.Reason = "it has no signature to replace"
	case err != nil:
		j.err = fmt.Errorf("%s: replace signatures of key %s: %w", j.Path, e.from, err)
	case !v.IsSignature():
		j.Reason = "it has a digest and no signature to replace"
	case j.replaced == OtherHash:
		j.err = fmt.Errorf("%s: replace signatures of key %s: it has one of key %s, over %s instead of %s", j.Path, e.from, v.KeyID, v.Hash, j.Hash)
	case v.KeyID != e.from: // ours, or without a key to compare somebody's
		j.err = fmt.Errorf("%s: replace signatures of key %s: %w: that of key %s does not hold", j.Path, e.from, ima.ErrBadSignature, v.KeyID)
	default:
		return true
	}
	return false
}
