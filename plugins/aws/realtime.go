package aws

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/opt"
	"github.com/parley-go/parley/realtime"
	"github.com/parley-go/parley/realtime/driver"
)

const (
	inputRate  = 16000
	outputRate = 24000
	// chunk is the audio of one message.
	chunk = 32 * time.Millisecond
	// limit is how old the service lets a connection become.
	limit = 8 * time.Minute
	// service is what requests are signed for.
	service = "bedrock"
)

// RealtimeOptions are the options of NewRealtime. The zero value, or nil, is Nova 2 Sonic with the credentials and
// the region of the environment.
type RealtimeOptions struct {
	// Credentials: default AWS's chain: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, AWS_PROFILE and
	// the files, the container's or the machine's role.
	Credentials aws.CredentialsProvider
	// Region: default that of the chain (AWS_REGION, the profile), else us-east-1.
	Region string
	// BaseURL: default AWS_ENDPOINT_URL_BEDROCK_RUNTIME, else AWS_ENDPOINT_URL, else the region's endpoint. With http://
	// it is HTTP/2 without TLS.
	BaseURL string
	// Model: default amazon.nova-2-sonic-v1:0. amazon.nova-sonic-v1:0 cannot be asked for an answer.
	Model string
	// Voice: default tiffany; others are matthew, amy, olivia, lupe, carlos, ambre, florian, tina, lennart, ...
	Voice string
	// Endpointing is how soon the model takes silence for the end of a turn: "HIGH" (soonest), "MEDIUM" (default), "LOW".
	Endpointing string
	// MaxTokens limits an answer: default 1024.
	MaxTokens int
	// Temperature and TopP are from 0 to 1: default 0.7 and 0.9.
	Temperature, TopP opt.Value[float64]
	// MaxAge is how old a connection becomes: default 8 min, at which the service ends it; a quiet moment in the
	// tenth of the time before is used for a new one. Off never makes one.
	MaxAge opt.Value[time.Duration]
	// Front are retries and timeouts; nil for the defaults.
	Front *realtime.ModelOptions
}

// NewRealtime returns a model that hears and speaks, finds the user's turns and answers outputs of tools by itself.
// It can be asked for an answer, of the second generation on, by what the user might have written. What the model is
// told when instructions, tools or the conversation change, it is told over a new connection, as it begins; of the
// conversation the newest 40 messages, from one of the user on.
//
// A session without instructions gets a short prompt. Whether there are credentials shows when a session connects:
// its error names the variables. A region that is nowhere to be had is us-east-1.
func NewRealtime(o *RealtimeOptions) (*realtime.Model, error) {
	d, err := newRealtime(o)
	if err != nil {
		return nil, err
	}
	return realtime.New(d, d.o.Front), nil
}

// converser implements driver.Realtime.
type converser struct {
	wire.Client
	o      RealtimeOptions
	url    *url.URL
	signer *v4.Signer
	writes bool // the model takes text
}

func newRealtime(o *RealtimeOptions) (*converser, error) {
	d := &converser{signer: v4.NewSigner()}
	if o != nil {
		d.o = *o
	}
	if d.o.Credentials == nil || d.o.Region == "" {
		cfg, err := config.LoadDefaultConfig(context.Background())
		if err != nil {
			return nil, fmt.Errorf("aws: reading the configuration: %w", err)
		}
		d.o.Region = cmp.Or(d.o.Region, cfg.Region)
		if d.o.Credentials == nil {
			d.o.Credentials = cfg.Credentials
		}
	}
	d.o.Region = cmp.Or(d.o.Region, "us-east-1")
	d.o.Model = cmp.Or(d.o.Model, "amazon.nova-2-sonic-v1:0")
	d.o.Voice = cmp.Or(d.o.Voice, "tiffany")
	d.o.Endpointing = cmp.Or(strings.ToUpper(d.o.Endpointing), "MEDIUM")
	d.o.MaxTokens = cmp.Or(d.o.MaxTokens, 1024)
	d.writes = !strings.Contains(d.o.Model, "amazon.nova-sonic-v1")
	base, err := wire.Base("aws", d.o.BaseURL, "https://bedrock-runtime."+d.o.Region+".amazonaws.com", "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_ENDPOINT_URL")
	if err != nil {
		return nil, err
	}
	d.url = address(base, d.o.Model)
	d.Peer = wire.Peer{Info: model.Info{Label: "aws.Realtime", Provider: "aws", Model: d.o.Model}, Kind: "realtime"}
	return d, nil
}

// address is the URL of the operation. A model is one segment of the path, whatever its name.
func address(base *url.URL, name string) *url.URL {
	u := *base
	const before, behind = "/model/", "/invoke-with-bidirectional-stream"
	u.RawPath = u.EscapedPath() + before + strings.ReplaceAll(url.PathEscape(name), ":", "%3A") + behind
	u.Path += before + name + behind
	return &u
}

// Info implements driver.Realtime.
func (d *converser) Info() model.Info { return d.Client.Info }

// Capabilities implements driver.Realtime.
func (d *converser) Capabilities() driver.Capabilities {
	c := driver.Capabilities{
		InputRate: inputRate, InputChunk: chunk, OutputRate: outputRate,
		AudioOutput: true, ServerTurns: true, UserTranscription: true, AutoToolReply: true, BilledByTokens: true,
	}
	if !d.o.MaxAge.IsOff() {
		c.MaxAge = d.o.MaxAge.Default(limit)
	}
	return c
}

// Connect implements driver.Realtime.
func (d *converser) Connect(ctx context.Context, s *driver.Setup) (driver.Conn, error) {
	creds, err := d.o.Credentials.Retrieve(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e := d.Status("connect", http.StatusUnauthorized, "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or RealtimeOptions.Credentials: "+err.Error())
		return nil, e
	}
	client := d.Client
	client.Secrets = []string{creds.AccessKeyID, creds.SecretAccessKey, creds.SessionToken}
	str, err := d.open(ctx, &client, creds)
	if err != nil {
		return nil, err
	}
	c := newConversation(d, &client, str)
	if err := c.open(ctx, s); err != nil {
		err = str.why(ctx, err)
		_ = c.Close()
		return nil, err
	}
	if left := time.Until(creds.Expires); creds.CanExpire && left < limit { // what is signed later is refused
		c.put(&driver.GoAway{In: max(left, 0)})
	}
	return c, nil
}
