package novabox

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/parley-go/parley/internal/sandbox"
)

const (
	// AccessKeyID is that of the sandbox's secret key, which is sandbox.Server.Key.
	AccessKeyID = "AKIDSANDBOX"
	// SessionToken goes with it.
	SessionToken = "sandbox-session-token"
	// Region is the only one that it takes.
	Region = "eu-north-1"

	streamType = "application/vnd.amazon.eventstream"
	streamHash = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
	maxFrame   = 1 << 20
)

// Credentials are the only ones that s takes.
func Credentials(s *sandbox.Server) aws.CredentialsProvider {
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return credentials(s), nil })
}

func credentials(s *sandbox.Server) aws.Credentials {
	return aws.Credentials{AccessKeyID: AccessKeyID, SecretAccessKey: s.Key, SessionToken: SessionToken}
}

// framing is that of AWS's event stream: messages begin with their length.
var framing = sandbox.Framing{
	Type: streamType, Broken: append(make([]byte, 15), 1),
	Read: func(r io.Reader) ([]byte, error) {
		head := make([]byte, 4)
		if _, err := io.ReadFull(r, head); err != nil {
			return nil, err
		}
		n := binary.BigEndian.Uint32(head)
		if n < 16 || n > maxFrame {
			return nil, sandbox.ErrOver
		}
		m := append(head, make([]byte, n-4)...)
		_, err := io.ReadFull(r, m[4:])
		return m, err
	},
	Frame: func(m []byte) []byte { return m },
}

// signer checks signatures, each of which goes on from the one before.
type signer struct {
	creds aws.Credentials
	chain *v4.StreamSigner
}

// newSigner checks the signature of a request by making it again.
func newSigner(s *sandbox.Server, r *http.Request) (*signer, error) {
	auth := r.Header.Get("Authorization")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	switch {
	case err != nil || time.Since(at).Abs() > 5*time.Minute:
		return nil, errors.New("signature expired")
	case r.Header.Get("X-Amz-Content-Sha256") != streamHash:
		return nil, errors.New("x-amz-content-sha256 is not that of a stream")
	case r.Header.Get("X-Amz-Security-Token") != SessionToken:
		return nil, errors.New("the security token included in the request is invalid: " + r.Header.Get("X-Amz-Security-Token"))
	}
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), nil)
	if err != nil {
		return nil, err
	}
	_, names, _ := strings.Cut(auth, "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	signed := strings.Split(names, ";")
	for _, must := range []string{"host", "x-amz-date", "x-amz-content-sha256", "x-amz-security-token"} {
		if !strings.Contains(";"+names+";", ";"+must+";") {
			return nil, fmt.Errorf("header %s is not signed", must)
		}
	}
	for _, name := range signed {
		if name != "host" {
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	g := &signer{creds: credentials(s)}
	if err := v4.NewSigner().SignHTTP(r.Context(), g.creds, again, streamHash, "bedrock", Region, at); err != nil {
		return nil, err
	}
	if again.Header.Get("Authorization") != auth {
		return nil, errors.New("the request signature we calculated does not match the signature you provided")
	}
	_, sig, _ := strings.Cut(auth, "Signature=")
	seed, err := hex.DecodeString(sig)
	if err != nil {
		return nil, err
	}
	g.chain = v4.NewStreamSigner(g.creds, "bedrock", Region, seed)
	return g, nil
}

// open checks the signature of a message and returns the event in it; nil for the last, empty one.
func (g *signer) open(ctx context.Context, raw []byte) ([]byte, error) {
	outer, err := eventstream.NewDecoder().Decode(bytes.NewReader(raw), nil)
	if err != nil {
		return nil, err
	}
	date, ok := outer.Headers.Get(":date").(eventstream.TimestampValue)
	if !ok {
		return nil, errors.New("a message has no date")
	}
	var headers bytes.Buffer
	if err := eventstream.EncodeHeaders(&headers, eventstream.Headers{{Name: ":date", Value: date}}); err != nil {
		return nil, err
	}
	sig, err := g.chain.GetSignature(ctx, headers.Bytes(), outer.Payload, time.Time(date))
	if err != nil {
		return nil, err
	}
	if got, ok := outer.Headers.Get(":chunk-signature").(eventstream.BytesValue); !ok || !bytes.Equal(got, sig) {
		return nil, errors.New("the signature of a message is wrong")
	}
	if len(outer.Payload) == 0 {
		return nil, nil
	}
	inner, err := eventstream.NewDecoder().Decode(bytes.NewReader(outer.Payload), nil)
	if err != nil {
		return nil, err
	}
	for name, want := range map[string]string{":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"} {
		if v := inner.Headers.Get(name); v == nil || v.String() != want {
			return nil, fmt.Errorf("header %s of a message is %v", name, v)
		}
	}
	var part struct {
		Bytes []byte `json:"bytes"`
	}
	if err := sandbox.Strict(inner.Payload, &part); err != nil {
		return nil, err
	}
	return part.Bytes, nil
}

// message is a message of the service.
func message(kind, name string, payload any) []byte {
	body, err := json.Marshal(payload)
	if err != nil {
		panic(err) // of our own types
	}
	m := eventstream.Message{Payload: body}
	m.Headers.Set(":message-type", eventstream.StringValue(kind))
	m.Headers.Set(":"+kind+"-type", eventstream.StringValue(name))
	m.Headers.Set(":content-type", eventstream.StringValue("application/json"))
	var b bytes.Buffer
	if err := eventstream.NewEncoder().Encode(&b, m); err != nil {
		panic(err) // likewise
	}
	return b.Bytes()
}
