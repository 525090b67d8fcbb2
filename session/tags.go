package session

import (
	"fmt"
	"maps"
	"unicode"
	"unicode/utf8"

	"github.com/parley-go/parley/metrics"
)

// What the tags of a session may be.
const (
	MaxTags        = 64
	MaxTagKeyLen   = 128 // bytes, as of the next
	MaxTagValueLen = 1024
)

// TagError says why a tag cannot be set.
type TagError struct {
	Key    string
	Reason string
}

func (e *TagError) Error() string {
	key := e.Key
	if len(key) > MaxTagKeyLen {
		key = key[:MaxTagKeyLen] + "…"
	}
	return fmt.Sprintf("tag %q: %s", key, e.Reason)
}

// TagRecorder is a metrics.Recorder that also wants to know the tags of a session, as a *ledger.Ledger does.
// Tag is called with all of them (its own from then on) when the session starts and has some, and
// whenever they change; it must not block.
type TagRecorder interface {
	metrics.Recorder
	Tag(sessionID string, tags map[string]string)
}

func checkTag(key, value string) error {
	switch {
	case key == "":
		return &TagError{key, "no key"}
	case len(key) > MaxTagKeyLen:
		return &TagError{key, fmt.Sprintf("the key has %d bytes, at most %d are allowed", len(key), MaxTagKeyLen)}
	case len(value) > MaxTagValueLen:
		return &TagError{key, fmt.Sprintf("the value has %d bytes, at most %d are allowed", len(value), MaxTagValueLen)}
	case !plain(key):
		return &TagError{key, "the key has control characters or is no UTF-8"}
	case !utf8.ValidString(value):
		return &TagError{key, "the value is no UTF-8"}
	}
	return nil
}

func plain(s string) bool {
	for _, c := range s {
		if unicode.IsControl(c) {
			return false
		}
	}
	return utf8.ValidString(s)
}

func checkTags(tags map[string]string) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("the session has %d tags, at most %d are allowed", len(tags), MaxTags)
	}
	for k, v := range tags {
		if err := checkTag(k, v); err != nil {
			return err
		}
	}
	return nil
}

// SetTag gives the session a tag, or the tag another value; it may be empty. Tags say what the session is
// about, to find it and to sum up by: they are in the report and in the ledger. They may be set at any
// time, before the start and after the close too, as long as the report was not made. A *TagError tells
// that the tag is too long, or one too many; then nothing has changed.
func (s *Session) SetTag(key, value string) error {
	if err := checkTag(key, value); err != nil {
		return fmt.Errorf("setting tag: %w", err)
	}
	s.mu.Lock()
	old, known := s.tags[key]
	if !known && len(s.tags) >= MaxTags {
		s.mu.Unlock()
		return fmt.Errorf("setting tag: %w", &TagError{key, fmt.Sprintf("the session has %d tags already", MaxTags)})
	}
	s.tags[key] = value
	s.mu.Unlock()
	if !known || old != value {
		s.tagsChanged()
	}
	return nil
}

// RemoveTag takes a tag from the session, if it has it.
func (s *Session) RemoveTag(key string) {
	s.mu.Lock()
	_, known := s.tags[key]
	delete(s.tags, key)
	s.mu.Unlock()
	if known {
		s.tagsChanged()
	}
}

// Tags is a copy of the tags of the session: those of Options.Tags, and what became of them.
func (s *Session) Tags() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.tags)
}

func (s *Session) tagsChanged() {
	r := s.current()
	if r == nil {
		return // the start tells
	}
	if !r.post(r.recordTags) {
		<-r.done // the loop has ended or is about to
		r.recordTags()
	}
}

// recordTags tells the recorders of the tags, once the session has started. On the loop.
func (r *run) recordTags() {
	if r.startedAt.IsZero() {
		return
	}
	for _, rec := range [...]metrics.Recorder{r.opt.Recorder, r.io.Recorder} {
		if t, ok := rec.(TagRecorder); ok {
			t.Tag(r.id, r.s.Tags())
		}
	}
}
