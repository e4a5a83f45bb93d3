package server

import (
	"time"

	"github.com/berth-registry/berth/internal/limit"
	"github.com/berth-registry/berth/oci"
)

// Failed logins that are answered as such, per minute: of one address as one
// principal, and of one address in all. Good credentials are never counted, so
// that nobody locks out others.
const (
	failuresPerPrincipal = 10
	failuresPerAddress   = 100
	failuresKept         = 100_000
)

// failures counts failed logins.
type failures struct{ principal, address *limit.Limiter }

var _ oci.Failures = (*failures)(nil)

func newFailures() *failures {
	return &failures{limit.New(failuresPerPrincipal, time.Minute, failuresKept, nil), limit.New(failuresPerAddress, time.Minute, failuresKept, nil)}
}

// Failed implements oci.Failures.
func (f *failures) Failed(address, who string) (time.Duration, bool) {
	ok, wait := f.address.Take(address)
	if ok {
		ok, wait = f.principal.Take(address + " " + who[:min(len(who), 128)])
	}
	return wait, !ok
}
