package aws

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream/eventstreamapi"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
)

// stream carries the JSON of events in signed messages of AWS's event stream. The SDK's own client of this
// operation is not used: it leaves a goroutine behind for every stream, and waits for ever when there are no
// credentials.
type stream struct {
	*wire.Duplex
	client *wire.Client
	signer *v4.StreamSigner
	buf    bytes.Buffer
}

const (
	streamType = "application/vnd.amazon.eventstream"
	// streamHash stands for the hash of a body whose messages are signed one by one.
	streamHash = "STREAMING-AWS4-HMAC-SHA256-EVENTS"
	// lastWords is how long the service may explain itself after it took no more.
	lastWords = 250 * time.Millisecond
)

// open begins a signed stream.
func (d *converser) open(ctx context.Context, client *wire.Client, creds aws.Credentials) (*stream, error) {
	r, err := http.NewRequest(http.MethodPost, "https://host", nil)
	if err != nil {
		return nil, client.Error(model.KindRequest, "connect", err)
	}
	u := *d.url
	r.URL, r.Host = &u, u.Host
	r.Header.Set("Content-Type", streamType)
	r.Header.Set("Accept", streamType)
	r.Header.Set("X-Amz-Content-Sha256", streamHash)
	if err := d.signer.SignHTTP(ctx, creds, r, streamHash, service, d.o.Region, time.Now()); err != nil {
		return nil, client.Error(model.KindRequest, "connect", err)
	}
	_, sig, _ := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	seed, err := hex.DecodeString(sig)
	if err != nil {
		return nil, client.Error(model.KindRequest, "connect", err)
	}
	duplex, err := client.Duplex(ctx, "converse", r, nil)
	if err != nil {
		return nil, err
	}
	return &stream{Duplex: duplex, client: client, signer: v4.NewStreamSigner(creds, service, d.o.Region, seed)}, nil
}

// chunkPart is the payload of a message, both ways.
type chunkPart struct {
	Bytes []byte `json:"bytes"` // an event in JSON
}

// send sends an event. It is not for several goroutines at once.
func (s *stream) send(ctx context.Context, event []byte) error {
	payload, err := json.Marshal(chunkPart{event})
	if err != nil {
		return s.client.Error(model.KindRequest, "send", err)
	}
	inner := eventstream.Message{Payload: payload}
	inner.Headers.Set(eventstreamapi.MessageTypeHeader, eventstream.StringValue(eventstreamapi.EventMessageType))
	inner.Headers.Set(eventstreamapi.EventTypeHeader, eventstream.StringValue("chunk"))
	inner.Headers.Set(eventstreamapi.ContentTypeHeader, eventstream.StringValue("application/json"))
	s.buf.Reset()
	if err := eventstream.NewEncoder().Encode(&s.buf, inner); err != nil {
		return s.client.Error(model.KindRequest, "send", err)
	}
	return s.sendSigned(ctx, bytes.Clone(s.buf.Bytes()))
}

// sendEnd says that no more will be sent.
func (s *stream) sendEnd(ctx context.Context) error {
	defer s.CloseSend()
	if err := s.sendSigned(ctx, nil); err != nil {
		return err
	}
	return s.Write(ctx, nil) // which is taken when all before it is on its way
}

func (s *stream) sendSigned(ctx context.Context, frame []byte) error {
	now := time.Now().UTC()
	m := eventstream.Message{Payload: frame}
	m.Headers.Set(eventstreamapi.DateHeader, eventstream.TimestampValue(now))
	s.buf.Reset()
	err := eventstream.EncodeHeaders(&s.buf, m.Headers)
	if err == nil {
		var sig []byte
		if sig, err = s.signer.GetSignature(ctx, s.buf.Bytes(), frame, now); err == nil {
			m.Headers.Set(eventstreamapi.ChunkSignatureHeader, eventstream.BytesValue(sig))
			s.buf.Reset()
			err = eventstream.NewEncoder().Encode(&s.buf, m)
		}
	}
	if err != nil {
		return s.client.Error(model.KindRequest, "send", err)
	}
	return s.Write(ctx, s.buf.Bytes())
}

// receive waits for an event, or an exception of the service. io.EOF is an orderly end.
func (s *stream) receive(ctx context.Context) (event []byte, err error) {
	err = s.Read(ctx, func(in *bufio.Reader) error {
		m, err := eventstream.NewDecoder().Decode(in, nil)
		var checksum eventstream.ChecksumError
		var length eventstream.LengthError
		switch {
		case errors.Is(err, io.EOF):
			return io.EOF
		case errors.As(err, &checksum), errors.As(err, &length):
			return s.client.Protocol("receive", "%v", err)
		case err != nil:
			return s.Broken(err)
		}
		event, err = s.understand(m)
		return err
	})
	return event, err
}

// why is the service's reason for wanting no more, if a send failed with err and nobody else reads. It gets a moment
// to say so.
func (s *stream) why(ctx context.Context, err error) error {
	var e *model.Error
	if ctx.Err() != nil || !errors.As(err, &e) || e.Kind != model.KindConnection {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, lastWords)
	defer cancel()
	for {
		if _, reason := s.receive(ctx); reason != nil {
			if errors.As(reason, &e) && e.Kind == model.KindStatus {
				return reason
			}
			return err
		}
	}
}

func header(m eventstream.Message, name string) string {
	if v := m.Headers.Get(name); v != nil {
		return v.String()
	}
	return ""
}

func (s *stream) understand(m eventstream.Message) ([]byte, error) {
	switch kind := header(m, eventstreamapi.MessageTypeHeader); kind {
	case eventstreamapi.EventMessageType:
		var part chunkPart
		if err := json.Unmarshal(m.Payload, &part); err != nil {
			return nil, s.client.Protocol("receive", "message cannot be read: %v", err)
		}
		return part.Bytes, nil
	case eventstreamapi.ExceptionMessageType:
		return nil, s.exception(header(m, eventstreamapi.ExceptionTypeHeader), wire.Explain(m.Payload))
	case eventstreamapi.ErrorMessageType:
		return nil, s.exception(header(m, eventstreamapi.ErrorCodeHeader), header(m, eventstreamapi.ErrorMessageHeader))
	default:
		return nil, s.client.Protocol("receive", "message of type %q", kind)
	}
}

// exceptions are the HTTP statuses of the service's exceptions.
var exceptions = map[string]int{
	"validationexception": 400, "accessdeniedexception": 403, "resourcenotfoundexception": 404, "modeltimeoutexception": 408,
	"throttlingexception": 429, "servicequotaexceededexception": 429, "modelnotreadyexception": 429,
	"internalserverexception": 500, "modelstreamerrorexception": 500, "modelerrorexception": 500, "serviceunavailableexception": 503,
}

// passing are words of refusals that mean trouble of the service's own, though it blames the request.
var passing = []string{"RST_STREAM", "System instability", "try your request again", "retry your request"}

// exception is the error of an exception.
func (s *stream) exception(name, message string) error {
	status, ok := exceptions[strings.ToLower(name)]
	if !ok {
		status = 500
	}
	if status == 400 {
		for _, words := range passing {
			if strings.Contains(message, words) {
				status = 503
			}
		}
	}
	return s.client.Status("converse", status, name+": "+message)
}
