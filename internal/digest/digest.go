// Package digest checks and computes content digests of the form
// algorithm:hex. Berth accepts the registered algorithms of the OCI image
// specification, sha256 and sha512, in lower case.
package digest

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"strings"
)

// Valid reports whether s is a digest that content can be checked against.
func Valid(s string) bool {
	alg, sum, ok := strings.Cut(s, ":")
	if !ok {
		return false
	}
	switch alg {
	case "sha256":
		return len(sum) == 2*sha256.Size && lowerHex(sum)
	case "sha512":
		return len(sum) == 2*sha512.Size && lowerHex(sum)
	}
	return false
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// SHA256 is the canonical digest of b.
func SHA256(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

// Matches reports whether b has the digest want, in want's own algorithm.
func Matches(b []byte, want string) bool {
	if strings.HasPrefix(want, "sha512:") {
		s := sha512.Sum512(b)
		return want == "sha512:"+hex.EncodeToString(s[:])
	}
	return want == SHA256(b)
}
