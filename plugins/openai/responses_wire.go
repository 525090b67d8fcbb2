package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/parley-go/parley/internal/wire"
	"github.com/parley-go/parley/model"
)

// maxStale is how many websockets that were open before may turn out to be dead in a row.
const maxStale = 6

// source is where the events of one answer come from.
type source interface {
	// next is the next event, valid until the next call.
	next(ctx context.Context) ([]byte, error)
	// end gives the connection back if the answer came to its end, else it ends it. Only the first
	// call counts; it may come from any goroutine.
	end(whole bool)
}

// ask sends a request and waits for the first event. all is the conversation, body what is sent.
func (c *responsesLLM) ask(ctx context.Context, all []inputItem, body map[string]any) (*responseStream, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, c.Error(model.KindRequest, "chat", fmt.Errorf("encoding request: %w", err))
	}
	open := c.askSocket
	if c.pool == nil {
		open = c.askHTTP
	}
	src, first, err := open(ctx, data)
	if err != nil {
		return nil, err
	}
	s := &responseStream{ctx: ctx, c: c, src: src, asked: all, built: body["previous_response_id"] != nil}
	if s.late = s.take(first); s.late != nil {
		s.src.end(false)
		if len(s.ready) == 0 {
			return nil, s.late
		}
	}
	return s, nil
}

func (c *responsesLLM) askHTTP(ctx context.Context, body []byte) (source, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, wire.Join(c.base, "/responses", nil), bytes.NewReader(body))
	if err != nil {
		return nil, nil, c.Error(model.KindRequest, "chat", err)
	}
	req.Header = c.jsonHeader()
	req.Header.Set("Accept", "text/event-stream")
	resp, err := c.Do(ctx, "chat", req)
	if err != nil {
		return nil, nil, err
	}
	if err := c.streams(ctx, "chat", resp); err != nil {
		return nil, nil, err
	}
	src := &httpSource{e: c.endpoint, body: resp.Body, events: wire.NewEvents(resp.Body)}
	first, err := src.next(ctx)
	if err != nil {
		src.end(false)
		return nil, nil, err
	}
	return src, first, nil
}

// httpSource implements source.
type httpSource struct {
	e      *endpoint
	body   io.ReadCloser
	events *wire.Events
	once   sync.Once
}

func (s *httpSource) next(ctx context.Context) ([]byte, error) {
	for {
		_, data, err := s.events.Next()
		if err != nil {
			return nil, s.e.broken(ctx, "chat", err)
		}
		if data = bytes.TrimSpace(data); len(data) > 0 && string(data) != "[DONE]" {
			return data, nil
		}
	}
}

func (s *httpSource) end(whole bool) {
	s.once.Do(func() {
		if whole {
			wire.Finish(s.body)
			return
		}
		_ = s.body.Close()
	})
}

// socketURL names the model to services of others, which choose a machine by it.
func (c *responsesLLM) socketURL() string {
	var q url.Values
	if c.Client.Info.Provider != string(OpenAI) {
		q = url.Values{"model": {c.model}}
	}
	return wire.JoinSocket(c.base, "/responses", q)
}

// askSocket sends a request on a websocket that it has alone, since a service answers one request of a
// websocket at a time. One that was kept and turns out to be dead before anything arrived is no failure
// of the request: another one is taken.
func (c *responsesLLM) askSocket(ctx context.Context, body []byte) (source, []byte, error) {
	for stale := 0; ; stale++ {
		l, err := c.pool.Acquire(ctx)
		if err != nil {
			return nil, nil, err
		}
		src := &socketSource{e: c.endpoint, pool: c.pool, l: l}
		first, dead, err := src.begin(ctx, body)
		if err == nil {
			return src, first, nil
		}
		src.end(false)
		if _, reused := l.Acquired(); !dead || !reused || stale == maxStale || ctx.Err() != nil {
			return nil, nil, err
		}
	}
}

// socketSource implements source.
type socketSource struct {
	e    *endpoint
	pool *wire.Pool
	l    *wire.Lease
	once sync.Once
}

// begin sends a request and waits for the first event of its answer; dead says that the websocket had
// ended before. The end of the answer before it, said twice, is passed over.
func (s *socketSource) begin(ctx context.Context, body []byte) (first []byte, dead bool, err error) {
	if err := s.l.WriteText(ctx, body); err != nil {
		return nil, true, err
	}
	for {
		m, err := s.l.Read(ctx)
		if err != nil {
			return nil, true, err
		}
		data, err := s.text(m)
		if err != nil {
			return nil, false, err
		}
		var e struct {
			Type  string          `json:"type"`
			Error json.RawMessage `json:"error"`
		}
		_ = json.Unmarshal(data, &e) // the stream will tell
		switch e.Type {
		case "response.completed", "response.incomplete":
			continue
		case "error":
			for _, raw := range []json.RawMessage{data, e.Error} {
				if _, code := stated(raw); code == "websocket_connection_limit_reached" {
					return nil, true, s.e.refused("chat", raw, 0)
				}
			}
		}
		return data, false, nil
	}
}

func (s *socketSource) next(ctx context.Context) ([]byte, error) {
	m, err := s.l.Read(ctx)
	if err != nil {
		return nil, err
	}
	return s.text(m)
}

func (s *socketSource) text(m wire.Message) ([]byte, error) {
	if m.Binary {
		return nil, s.e.Protocol("chat", "binary message where text was expected")
	}
	return m.Data, nil
}

// end implements source. There is no message to cancel an answer, so what nobody wants any more takes
// its connection with it; the next request finds one that is being opened already.
func (s *socketSource) end(whole bool) {
	s.once.Do(func() {
		switch {
		case whole:
			s.l.Release()
		case s.l.Broken():
			s.l.Discard()
		default:
			s.pool.Replace(s.l)
		}
	})
}
