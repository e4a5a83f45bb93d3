package server

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/berth-registry/berth/secret"
)

const (
	caLife = 10 * 365 * 24 * time.Hour
	// leafLife stays under what clients accept of any authority; leafRenew is how
	// long before its end a leaf is replaced.
	leafLife  = 90 * 24 * time.Hour
	leafRenew = 30 * 24 * time.Hour
	// reloadEvery is how often certificate files are looked at.
	reloadEvery = 10 * time.Second
)

func tlsConfig(get func() (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return get() }}
}

// fileCertificate serves a certificate from files and follows their changes. A
// broken replacement leaves the old one in use.
type fileCertificate struct {
	cert, key string
	mu        sync.Mutex
	checked   time.Time
	stamp     [2]time.Time
	current   *tls.Certificate
	warn      func(error)
}

func newFileCertificate(cert, key string, warn func(error)) (*fileCertificate, error) {
	f := &fileCertificate{cert: cert, key: key, warn: warn}
	_, err := f.load(time.Now())
	return f, err
}

func (f *fileCertificate) get() (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	if now.Sub(f.checked) < reloadEvery {
		return f.current, nil
	}
	c, err := f.load(now)
	if err != nil && f.current != nil {
		f.warn(err)
		return f.current, nil
	}
	return c, err
}

func (f *fileCertificate) load(now time.Time) (*tls.Certificate, error) {
	f.checked = now
	var stamp [2]time.Time
	for i, name := range []string{f.cert, f.key} {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("TLS certificate: %w", err)
		}
		stamp[i] = info.ModTime()
	}
	if f.current != nil && stamp == f.stamp {
		return f.current, nil
	}
	c, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("TLS certificate %s: %w", f.cert, err)
	}
	f.current, f.stamp = &c, stamp
	return f.current, nil
}

// authority is the local CA of --tls auto, made at first start. Its leaf lives in
// memory only and is renewed in time.
type authority struct {
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	names []string
	mu    sync.Mutex
	leaf  *tls.Certificate
	until time.Time
}

// caFile is the CA's certificate below the data directory, for clients to trust.
func caFile(data string) string { return filepath.Join(data, "tls", "ca.crt") }

func openAuthority(data string, names []string) (*authority, error) {
	dir := filepath.Dir(caFile(data))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	keyFile := filepath.Join(dir, "ca.key")
	keyPEM, err := os.ReadFile(keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeAuthority(keyFile, caFile(data)); err != nil {
			return nil, fmt.Errorf("make the local CA: %w", err)
		}
		keyPEM, err = os.ReadFile(keyFile)
	}
	if err != nil {
		return nil, err
	}
	certPEM, err := os.ReadFile(caFile(data))
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("the local CA in %s: %w", dir, err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("the local CA in %s has a key of an unexpected kind", dir)
	}
	return &authority{cert: pair.Leaf, key: key, names: names}, nil
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		panic(err) // crypto/rand does not fail
	}
	return n
}

// makeAuthority writes the certificate before the key: the key's presence says
// that both are there.
func makeAuthority(keyFile, certFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	now := time.Now()
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "Berth local CA"}, NotBefore: now.Add(-time.Hour),
		NotAfter: now.Add(caLife), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.Remove(certFile); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := secret.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})); err != nil {
		return err
	}
	return secret.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
}

func (a *authority) get() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	if a.leaf != nil && now.Add(leafRenew).Before(a.until) {
		return a.leaf, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{SerialNumber: serial(), Subject: pkix.Name{CommonName: "Berth"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	for _, n := range a.names {
		if ip := net.ParseIP(n); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, n)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	a.leaf = &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}
	a.until = t.NotAfter
	return a.leaf, nil
}
