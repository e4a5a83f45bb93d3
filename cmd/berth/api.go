package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"github.com/berth-registry/berth/berthapi"
	"github.com/berth-registry/berth/identity"
	"github.com/berth-registry/berth/secret"
	"github.com/berth-registry/berth/server"
)

// remote is what commands need that ask a server's API: the credentials of the
// environment, else the root's of a data directory.
type remote struct {
	local
}

// client calls Berth's own API.
type client struct {
	http   *http.Client
	server *server.Runtime
	keys   aws.Credentials
}

func (c *remote) client() (*client, error) {
	endpoint, key := os.Getenv("AWS_ENDPOINT_URL"), os.Getenv("AWS_ACCESS_KEY_ID")
	r, cred, err := c.open()
	if endpoint != "" && key != "" {
		region := os.Getenv("AWS_REGION")
		if region == "" {
			region = os.Getenv("AWS_DEFAULT_REGION")
		}
		if region == "" {
			region = "us-east-1"
		}
		ca := os.Getenv("AWS_CA_BUNDLE")
		if ca == "" && err == nil && r.Endpoint == endpoint {
			ca = r.CA
		}
		r = &server.Runtime{Endpoint: endpoint, Region: region, CA: ca}
		cred, err = &identity.Credentials{AccessKeyID: key, Secret: secret.String(os.Getenv("AWS_SECRET_ACCESS_KEY")), SessionToken: os.Getenv("AWS_SESSION_TOKEN")}, nil
	}
	if err != nil {
		return nil, err
	}
	h, err := httpClient(r)
	return &client{h, r, aws.Credentials{AccessKeyID: cred.AccessKeyID, SecretAccessKey: cred.Secret.Reveal(), SessionToken: cred.SessionToken}}, err
}

// call sends one operation and decodes its reply, and returns the reply's text.
func (c *client) call(ctx context.Context, op string, in map[string]any, out any) (json.RawMessage, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.server.Endpoint+"/", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Target", berthapi.Target+"."+op)
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(ctx, c.keys, r, hex.EncodeToString(sum[:]), berthapi.SigningName, c.server.Region, time.Now()); err != nil {
		return nil, err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("ask the server at %s: %w", c.server.Endpoint, err)
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		if json.Unmarshal(reply, &e) != nil || e.Message == "" {
			return nil, fmt.Errorf("the server at %s answered %s", c.server.Endpoint, resp.Status)
		}
		return nil, &apiError{smithy.GenericAPIError{Code: e.Type, Message: e.Message}}
	}
	if out != nil {
		err = json.Unmarshal(reply, out)
	}
	return reply, err
}

// apiError is a refusal of Berth's own API. It prints as its text alone.
type apiError struct{ smithy.GenericAPIError }

func (e *apiError) Error() string { return e.Message }

// unixTime is a time as the API writes it.
type unixTime float64

func (t unixTime) String() string {
	return time.UnixMilli(int64(t * 1000)).Local().Format("2006-01-02 15:04:05")
}

// account asks which account the credentials are of.
func (c *client) account(ctx context.Context) (string, error) {
	out, err := sts.NewFromConfig(aws.Config{Region: c.server.Region, BaseEndpoint: aws.String(c.server.Endpoint), HTTPClient: c.http,
		Credentials: credentials.StaticCredentialsProvider{Value: c.keys}}).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return "", fmt.Errorf("ask the server at %s who this is: %w", c.server.Endpoint, err)
	}
	return aws.ToString(out.Account), nil
}
