package registry

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// uploadIDs makes the ids of uploads, which prove that they were begun. Where several nodes
// serve one database, each can go on with an upload that another one began, though the
// beginning is written nowhere.
//
// An id is a UUID of version 8: 32 bits of the time of its beginning in seconds, so that ids
// sort by it, 42 random bits, and 48 of a MAC over these and all that the upload was begun
// with. To guess one gains no right: the requests that follow are authorised themselves.
type uploadIDs struct{ key []byte }

// begunFor is how long after its beginning an upload of which nothing is written can go on.
const begunFor = time.Hour

const (
	idProved = 10 // bytes of an id that the MAC is over
	idMAC    = 6  // bytes of it that follow
)

// make makes an id for an upload to a repository that begins now; ref's own is not
// looked at.
func (u uploadIDs) make(ref UploadRef, repo int64, now time.Time) string {
	var id uuid.UUID
	rand.Read(id[:])
	binary.BigEndian.PutUint32(id[:], uint32(now.Unix())) //nolint:gosec // until 2106
	id[6] = id[6]&0x0f | 0x80                             // version 8
	id[8] = id[8]&0x3f | 0x80                             // RFC 9562's variant
	copy(id[idProved:], u.mac(id, ref, repo))
	return id.String()
}

// begun reports whether an upload was begun, as ref says, so lately that it can go on.
func (u uploadIDs) begun(ref UploadRef, repo int64, now time.Time) bool {
	id, err := uuid.Parse(ref.ID)
	if err != nil || !hmac.Equal(id[idProved:], u.mac(id, ref, repo)) {
		return false
	}
	return now.Sub(time.Unix(int64(binary.BigEndian.Uint32(id[:])), 0)) < begunFor
}

func (u uploadIDs) mac(id uuid.UUID, ref UploadRef, repo int64) []byte {
	h := hmac.New(sha256.New, u.key)
	h.Write(binary.BigEndian.AppendUint64(id[:idProved:idProved], uint64(repo))) //nolint:gosec // its bits
	for _, s := range []string{string(ref.Place.Account), string(ref.Place.Region), ref.Repository, ref.Principal} {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	return h.Sum(nil)[:idMAC]
}

// beganBefore is less than every id of an upload that began at a time or later, and more than
// those from before.
func beganBefore(at time.Time) string {
	var id uuid.UUID
	binary.BigEndian.PutUint32(id[:], uint32(at.Unix())) //nolint:gosec // until 2106
	return id.String()
}
