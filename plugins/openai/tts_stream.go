package openai

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/parley-go/parley/audio"
	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/metrics"
	"github.com/parley-go/parley/model"
	"github.com/parley-go/parley/tts/driver"
)

// speechChunk is the most audio, in bytes, that is handed on at once.
const speechChunk = 9600

// speech implements driver.AudioStream.
type speech struct {
	d      *synthesizer
	body   io.ReadCloser
	events *speechEvents // nil: the body is the audio
	r      *bufio.Reader // the audio
	id     string
	wav    bool
	frame  audio.Frame // rate and channels; the buffer of samples
	left   int         // bytes, beginning with half a sample, at the start of buf
	buf    [speechChunk]byte
	ended  bool
	chunk  driver.Chunk
}

// speech understands an answer by what it says it is, since services do not always do what was asked.
func (d *synthesizer) speech(ctx context.Context, resp *http.Response) (driver.AudioStream, error) {
	s := &speech{d: d, body: resp.Body, id: resp.Header.Get("X-Request-Id"), frame: audio.Frame{Rate: d.o.Rate, Channels: 1}}
	if s.id == "" {
		s.id = metrics.NewID("speech_")
	}
	var r io.Reader = resp.Body
	switch kind := contentType(resp.Header); kind {
	case "text/event-stream":
		s.events = &speechEvents{d: d, events: wire.NewEvents(resp.Body)}
		r, s.wav = s.events, d.o.Format == formatWAV
	case "audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave":
		s.wav = true
	case "audio/pcm", "audio/l16", "audio/raw":
		s.frame.Rate = declaredRate(resp.Header, s.frame.Rate)
	case "", "application/octet-stream", "binary/octet-stream":
		s.wav = d.o.Format == formatWAV
	default:
		defer resp.Body.Close()
		return nil, d.unexpected(ctx, "speak", kind, resp.Body)
	}
	s.r = bufio.NewReaderSize(r, 2*speechChunk)
	return s, nil
}

// declaredRate is the rate parameter of a content type, such as audio/L16;rate=24000.
func declaredRate(h http.Header, rate int) int {
	_, params, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if n, err := strconv.Atoi(params["rate"]); err == nil && n >= 8000 && n <= 192000 {
		return n
	}
	return rate
}

// Close implements driver.AudioStream.
func (s *speech) Close() error { return s.body.Close() }

// Next implements driver.AudioStream.
func (s *speech) Next(ctx context.Context) (*driver.Chunk, error) {
	if s.ended {
		return nil, io.EOF
	}
	if s.wav {
		f, err := wavHead(s.r)
		if errors.Is(err, audio.ErrWAV) {
			return nil, s.d.Protocol("speak", "%v", err)
		}
		if err != nil && err != io.EOF {
			return nil, s.failed(ctx, err)
		}
		if err == nil {
			s.frame.Rate, s.frame.Channels = f.Rate, f.Channels
		}
		s.wav = false
	}
	whole := 2 * s.frame.Channels
	for {
		n, err := s.r.Read(s.buf[s.left:])
		n += s.left
		if use := n - n%whole; use > 0 {
			s.frame.Data = wire.Samples(s.frame.Data[:0], s.buf[:use])
			s.left = copy(s.buf[:], s.buf[use:n])
			s.chunk = driver.Chunk{Frame: s.frame, RequestID: s.id}
			return &s.chunk, nil // an error comes again
		}
		s.left = n
		if err == io.EOF {
			return s.end()
		}
		if err != nil {
			return nil, s.failed(ctx, err)
		}
	}
}

// end is the good end, at which the service may have said what the speech cost.
func (s *speech) end() (*driver.Chunk, error) {
	s.ended = true
	wire.Finish(s.body)
	if s.events == nil || s.events.usage == nil {
		return nil, io.EOF
	}
	s.chunk = driver.Chunk{RequestID: s.id, Usage: s.events.usage}
	return &s.chunk, nil
}

func (s *speech) failed(ctx context.Context, err error) error {
	if e := (*model.Error)(nil); errors.As(err, &e) {
		return err
	}
	return s.d.broken(ctx, "speak", err)
}

// speechEvents reads the audio in events.
type speechEvents struct {
	d      *synthesizer
	events *wire.Events
	audio  []byte // not read
	usage  *driver.UsageReport
	err    error
}

// Read implements io.Reader. io.EOF is the end that was stated.
func (s *speechEvents) Read(b []byte) (int, error) {
	for len(s.audio) == 0 {
		if s.err != nil {
			return 0, s.err
		}
		s.err = s.take()
	}
	n := copy(b, s.audio)
	s.audio = s.audio[n:]
	return n, nil
}

func (s *speechEvents) take() error {
	_, data, err := s.events.Next()
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if data = bytes.TrimSpace(data); len(data) == 0 {
		return nil
	}
	if string(data) == "[DONE]" {
		return io.EOF
	}
	var e struct {
		Type  string          `json:"type"`
		Audio []byte          `json:"audio"`
		Delta []byte          `json:"delta"`
		Error json.RawMessage `json:"error"`
		Usage json.RawMessage `json:"usage"`
	}
	if err := json.Unmarshal(data, &e); err != nil {
		return s.d.Protocol("speak", "event cannot be read: %v", err)
	}
	switch {
	case !isNull(e.Error):
		return s.d.refused("speak", e.Error, 0)
	case e.Type == "error":
		return s.d.refused("speak", data, 0)
	case e.Type == "speech.audio.delta":
		if s.audio = e.Audio; len(s.audio) == 0 {
			s.audio = e.Delta
		}
	case e.Type == "speech.audio.done":
		if !isNull(e.Usage) {
			var u struct {
				InputTokens  int64 `json:"input_tokens"`
				OutputTokens int64 `json:"output_tokens"`
			}
			if err := json.Unmarshal(e.Usage, &u); err != nil {
				return s.d.Protocol("speak", "usage cannot be read: %v", err)
			}
			s.usage = &driver.UsageReport{InputTokens: u.InputTokens, OutputTokens: u.OutputTokens, Raw: metrics.RawOf(e.Usage)}
		}
		return io.EOF
	}
	return nil
}

// wavHead reads a WAV file up to its samples. Sizes are not believed: they are made up when a file is
// sent while it is made. io.EOF is an empty answer.
func wavHead(r *bufio.Reader) (audio.Frame, error) {
	if _, err := r.Peek(1); err != nil {
		return audio.Frame{}, err
	}
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return audio.Frame{}, cutShort(err)
	}
	// Chunks until the data: ReadWAV knows formats, so it gets the same head with no data.
	file := append([]byte(nil), head[:]...)
	for {
		var part [8]byte
		if _, err := io.ReadFull(r, part[:]); err != nil {
			return audio.Frame{}, cutShort(err)
		}
		size := int(binary.LittleEndian.Uint32(part[4:]))
		if string(part[:4]) == "data" {
			return audio.ReadWAV(bytes.NewReader(append(append(file, "data"...), 0, 0, 0, 0)))
		}
		if size += size % 2; size > maxWAVPart {
			return audio.Frame{}, audio.ErrWAV
		}
		file = append(file, part[:]...)
		at := len(file)
		file = append(file, make([]byte, size)...)
		if _, err := io.ReadFull(r, file[at:]); err != nil {
			return audio.Frame{}, cutShort(err)
		}
		if len(file) > 2*maxWAVPart {
			return audio.Frame{}, audio.ErrWAV
		}
	}
}

// maxWAVPart bounds what comes before the samples.
const maxWAVPart = 64 << 10

// cutShort is the error of a file that ends in its head.
func cutShort(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
