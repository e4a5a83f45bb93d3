package awsproto

import (
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/aws/smithy-go"
)

// jsonProtocol is awsJson: the operation in X-Amz-Target, a JSON document each
// way.
type jsonProtocol struct {
	target  string
	version Version
}

func (p jsonProtocol) operation(r *http.Request, _ []byte) (string, bool) {
	target := r.Header.Get("X-Amz-Target") // CloudTrail's prefix has dots itself
	i := strings.LastIndexByte(target, '.')
	// Some SDKs leave the prefix's own prefix out.
	return target[i+1:], i > 0 && (target[:i] == p.target || strings.HasSuffix(p.target, "."+target[:i]))
}

func (p jsonProtocol) decode(c *codec, _ *http.Request, body []byte, in any) error {
	return c.decode(body, in)
}

func (p jsonProtocol) reply(c *codec, w http.ResponseWriter, _ string, out any) error {
	b, err := c.encode(nil, out)
	if err != nil {
		return err
	}
	send(w, string(p.version), http.StatusOK, b)
	return nil
}

func (p jsonProtocol) unknown(r *http.Request, _ string) smithy.APIError {
	target := r.Header.Get("X-Amz-Target")
	message := fmt.Sprintf("The operation %.200q is not implemented by this server.", target)
	if target == "" {
		message = "The request names no operation in X-Amz-Target."
	}
	return &smithy.GenericAPIError{Code: "UnknownOperationException", Message: message}
}

func (p jsonProtocol) malformed(err error) smithy.APIError {
	return &smithy.GenericAPIError{Code: "SerializationException", Message: err.Error()}
}

func (p jsonProtocol) fail(c *codec, w http.ResponseWriter, err smithy.APIError) {
	b := append([]byte(`{"__type":`), appendString(nil, err.ErrorCode())...)
	members := append([]byte(`"message":`), appendString(nil, err.ErrorMessage())...)
	if _, generic := err.(*smithy.GenericAPIError); !generic {
		m, n, eerr := c.appendMembers(nil, reflect.Indirect(reflect.ValueOf(err)))
		if eerr == nil && n > 0 {
			members = m
		}
	}
	b = append(append(append(b, ','), members...), '}')
	w.Header().Set("X-Amzn-ErrorType", err.ErrorCode())
	send(w, string(p.version), Status(err), b)
}

// send answers with a body of known length, so that a client that stops reading at
// the end of the document has read the whole answer and keeps its connection.
func send(w http.ResponseWriter, contentType string, status int, body []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left gets nothing more
}
