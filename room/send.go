package room

import (
	"context"
	"fmt"
	"time"

	"github.com/livekit/protocol/livekit"
	lksdk "github.com/livekit/server-sdk-go/v2"
)

const (
	// maxBuffered is how many bytes may wait in the data channel before a sender does.
	maxBuffered = 1 << 20
	// bufferPoll is how often a waiting sender looks again.
	bufferPoll = 10 * time.Millisecond
)

// SendText sends a text on a topic, e.g. "lk.chat", to the given identities or to everybody. It waits
// while the connection is repaired, and fails with ErrTooLong, with ErrDisconnected, or when ctx ends.
func (r *Room) SendText(ctx context.Context, topic, text string, to ...string) error {
	if len(text) > MaxText {
		return fmt.Errorf("send text of %d bytes: %w", len(text), ErrTooLong)
	}
	s := newTextStream("")
	packets := append([]packet{s.header(topic, map[string]string{})}, s.chunks(text)...)
	packets = append(packets, s.trailer(nil))
	if err := r.sendTo(ctx, to, packets...); err != nil {
		return fmt.Errorf("send text: %w", err)
	}
	return nil
}

// SendDigit presses a telephone key for the participants who are on the telephone. The codes of 0 to
// 9 are the digits, 10 is *, 11 is #, and 12 to 15 are A to D.
func (r *Room) SendDigit(ctx context.Context, code uint32, digit string) error {
	p := packet{&livekit.DataPacket{Value: &livekit.DataPacket_SipDtmf{SipDtmf: &livekit.SipDTMF{Code: code, Digit: digit}}}}
	if err := r.sendTo(ctx, nil, p); err != nil {
		return fmt.Errorf("send digit: %w", err)
	}
	return nil
}

func (r *Room) send(ctx context.Context, packets ...packet) error {
	return r.sendTo(ctx, nil, packets...)
}

// sendTo sends packets one after the other. The SDK does not say when it loses one, so it is asked
// only while the connection is good and its buffer has room.
func (r *Room) sendTo(ctx context.Context, to []string, packets ...packet) error {
	for _, p := range packets {
		if err := r.waitOnline(ctx); err != nil {
			return err
		}
		if err := r.waitBuffer(ctx); err != nil {
			return err
		}
		err := r.sdk.LocalParticipant.PublishDataPacket(p, lksdk.WithDataPublishReliable(true), lksdk.WithDataPublishDestination(to))
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *Room) setAttribute(key, value string) {
	if r.waitOnline(r.ctx) == nil {
		r.sdk.LocalParticipant.SetAttributes(map[string]string{key: value})
	}
}

func (r *Room) setOnline(online bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.online:
		if !online {
			r.online = make(chan struct{})
		}
	default:
		if online {
			close(r.online)
		}
	}
}

func (r *Room) waitOnline(ctx context.Context) error {
	r.mu.Lock()
	online := r.online
	r.mu.Unlock()
	select {
	case <-r.disconnected:
		return ErrDisconnected
	default:
	}
	select {
	case <-online:
		return nil
	case <-r.disconnected:
		return ErrDisconnected
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *Room) waitBuffer(ctx context.Context) error {
	full := func() bool {
		if r.engine == nil {
			return false
		}
		dc := r.engine.GetDataChannel(livekit.DataPacket_RELIABLE)
		return dc != nil && dc.BufferedAmount() > maxBuffered
	}
	if !full() {
		return nil
	}
	poll := time.NewTicker(bufferPoll)
	defer poll.Stop()
	for full() {
		select {
		case <-poll.C:
		case <-r.disconnected:
			return ErrDisconnected
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
