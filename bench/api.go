package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// apiClients is how many clients call ECR's API at once.
const apiClients = 4

// signed is a call of ECR's API that can be sent again and again while its signature is
// valid: the signing of the SDK, which costs more than some answers, is left out of what is
// measured.
type signed struct {
	header http.Header
	body   []byte
}

func (t *target) sign(operation string, in any) (*signed, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequest(http.MethodPost, t.url+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", "AmazonEC2ContainerRegistry_V20150921."+operation)
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(context.Background(), t.keys, r, hex.EncodeToString(sum[:]), "ecr", "us-east-1", time.Now())
	return &signed{r.Header, body}, err
}

// send makes a call and reads its answer.
func (t *target) send(s *signed) error {
	r, err := http.NewRequest(http.MethodPost, t.url+"/", bytes.NewReader(s.body))
	if err != nil {
		return err
	}
	r.Header = s.header
	res, err := t.client.Do(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(res.Body, 500))
		return fmt.Errorf("%s: %s %s", s.header.Get("X-Amz-Target"), res.Status, b)
	}
	_, err = io.Copy(io.Discard, res.Body)
	return err
}

// apiDepth is how many repositories or images there are to be listed.
const apiDepth = 2000

// api measures calls that prepare makes: one for each number.
func api(prepare func(t *target) (func(n int64) (*signed, error), error)) func(context.Context, *bench, *target) (measure, error) {
	return func(_ context.Context, b *bench, t *target) (measure, error) {
		next, err := prepare(t)
		if err != nil {
			return measure{}, err
		}
		var n atomic.Int64
		return b.load(t, apiClients, func(int, int) error {
			s, err := next(n.Add(1))
			if err == nil {
				err = t.send(s)
			}
			return err
		})
	}
}

// same is a call that is made again and again.
func same(t *target, operation string, in any) (func(int64) (*signed, error), error) {
	s, err := t.sign(operation, in)
	return func(int64) (*signed, error) { return s, err }, err
}

func apiCreateRepository(t *target) (func(int64) (*signed, error), error) {
	return func(n int64) (*signed, error) {
		return t.sign("CreateRepository", map[string]any{"repositoryName": fmt.Sprint("bench/created-", n)})
	}, nil
}

func apiDescribeRepositories(t *target) (func(int64) (*signed, error), error) {
	for n := range apiDepth {
		s, err := t.sign("CreateRepository", map[string]any{"repositoryName": fmt.Sprint("bench/listed-", n)})
		if err == nil {
			err = t.send(s)
		}
		if err != nil {
			return nil, err
		}
	}
	return same(t, "DescribeRepositories", map[string]any{"maxResults": 1000})
}

// apiImages makes images that differ in their manifests alone, and returns a manifest and
// their digests.
func (t *target) apiImages(n int) (manifest []byte, digests []string, err error) {
	d, err := t.smallImage(rand.New(rand.NewPCG(1, 1)), "bench/api", "base")
	if err != nil {
		return nil, nil, err
	}
	res, err := t.do("GET", "/v2/bench/api/manifests/"+d[4], nil, 0, "")
	if err != nil {
		return nil, nil, err
	}
	manifest, err = io.ReadAll(res.Body)
	res.Body.Close()
	for i := 0; i < n && err == nil; i++ {
		var h http.Header
		h, err = t.call(201, "PUT", fmt.Sprintf("/v2/bench/api/manifests/i%06d", i), noted(manifest, int64(i)), manifestType)
		digests = append(digests, h.Get("Docker-Content-Digest"))
	}
	return manifest, digests, err
}

// noted is a manifest with an annotation, so that it is another one.
func noted(manifest []byte, n int64) []byte {
	return bytes.Replace(manifest, []byte(`{`), fmt.Appendf(nil, `{"annotations":{"n":"%d"},`, n), 1)
}

func apiPutImage(t *target) (func(int64) (*signed, error), error) {
	manifest, _, err := t.apiImages(0)
	return func(n int64) (*signed, error) {
		return t.sign("PutImage", map[string]any{"repositoryName": "bench/api", "imageManifest": string(noted(manifest, n)), "imageTag": fmt.Sprint("put-", n)})
	}, err
}

func apiListImages(t *target) (func(int64) (*signed, error), error) {
	if _, _, err := t.apiImages(apiDepth); err != nil {
		return nil, err
	}
	return same(t, "ListImages", map[string]any{"repositoryName": "bench/api", "maxResults": 1000})
}

func apiDescribeImages(t *target) (func(int64) (*signed, error), error) {
	if _, _, err := t.apiImages(apiDepth); err != nil {
		return nil, err
	}
	return same(t, "DescribeImages", map[string]any{"repositoryName": "bench/api", "maxResults": 1000})
}

func apiDescribe100Images(t *target) (func(int64) (*signed, error), error) {
	if _, _, err := t.apiImages(apiDepth); err != nil {
		return nil, err
	}
	return same(t, "DescribeImages", map[string]any{"repositoryName": "bench/api", "maxResults": 100})
}

func apiBatchGetImage(t *target) (func(int64) (*signed, error), error) {
	_, digests, err := t.apiImages(100)
	if err != nil {
		return nil, err
	}
	var ids []map[string]string
	for _, d := range digests {
		ids = append(ids, map[string]string{"imageDigest": d})
	}
	return same(t, "BatchGetImage", map[string]any{"repositoryName": "bench/api", "imageIds": ids})
}
