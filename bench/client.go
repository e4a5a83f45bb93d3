package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
)

func (t *target) do(method, path string, body io.Reader, length int64, contentType string) (*http.Response, error) {
	r, err := http.NewRequest(method, t.url+path, body)
	if err != nil {
		return nil, err
	}
	r.ContentLength = length
	if t.auth != "" {
		r.Header.Set("Authorization", t.auth)
	}
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if strings.Contains(path, "/manifests/") {
		r.Header.Set("Accept", manifestType) // distribution hides what is not asked for
	}
	return t.client.Do(r)
}

// call sends a request, drops the body and checks the status.
func (t *target) call(want int, method, path string, body []byte, contentType string) (http.Header, error) {
	res, err := t.do(method, path, bytes.NewReader(body), int64(len(body)), contentType)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		return nil, err
	}
	if res.StatusCode != want {
		return nil, fmt.Errorf("%s %s: %s %.200s", method, path, res.Status, b)
	}
	return res.Header, nil
}

func location(h http.Header) string {
	l := h.Get("Location")
	if i := strings.Index(l, "/v2/"); i >= 0 {
		l = l[i:]
	}
	return l
}

func withDigest(l, d string) string {
	if strings.Contains(l, "?") {
		return l + "&digest=" + d
	}
	return l + "?digest=" + d
}

func (t *target) pushBlob(repo string, b []byte) (string, error) {
	d := fmt.Sprintf("sha256:%x", sha256.Sum256(b))
	h, err := t.call(202, "POST", "/v2/"+repo+"/blobs/uploads/", nil, "")
	if err != nil {
		return "", err
	}
	_, err = t.call(201, "PUT", withDigest(location(h), d), b, "application/octet-stream")
	return d, err
}

const manifestType = "application/vnd.oci.image.manifest.v1+json"

// smallImage pushes a config and three layers of 4 to 64 KiB under a tag, and
// returns the digests of its blobs.
func (t *target) smallImage(r *rand.Rand, repo, tag string) ([]string, error) {
	var digests []string
	var list []map[string]any
	for i, size := range []int{1500, 4 << 10, 16 << 10, 64 << 10} {
		b := make([]byte, size)
		for j := 0; j < len(b); j += 8 {
			v := r.Uint64()
			for k := range min(8, len(b)-j) {
				b[j+k] = byte(v >> (8 * k))
			}
		}
		d, err := t.pushBlob(repo, b)
		if err != nil {
			return nil, err
		}
		kind := "application/vnd.oci.image.layer.v1.tar+gzip"
		if i == 0 {
			kind = "application/vnd.oci.image.config.v1+json"
		}
		digests = append(digests, d)
		list = append(list, map[string]any{"mediaType": kind, "digest": d, "size": size})
	}
	m, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": manifestType, "config": list[0], "layers": list[1:]})
	if err != nil {
		return nil, err
	}
	h, err := t.call(201, "PUT", "/v2/"+repo+"/manifests/"+tag, m, manifestType)
	if err != nil {
		return nil, err
	}
	return append(digests, h.Get("Docker-Content-Digest")), nil
}

// pullImage gets the manifest of a tag, and the blobs whose digests smallImage returned.
func (t *target) pullImage(repo, tag string, digests []string) error {
	if _, err := t.call(200, "GET", "/v2/"+repo+"/manifests/"+tag, nil, ""); err != nil {
		return err
	}
	for _, d := range digests[:4] {
		if _, err := t.call(200, "GET", "/v2/"+repo+"/blobs/"+d, nil, ""); err != nil {
			return err
		}
	}
	return nil
}
