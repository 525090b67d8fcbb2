package ledger

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/parley-go/parley/metrics"
)

// Kind says what a record is about.
type Kind byte

// The kinds of records. A reader passes over others.
const (
	KindEvent     Kind = 'E' // a metrics event
	KindStart     Kind = 'S' // a session begins
	KindTags      Kind = 'T' // the tags of a session have changed
	KindEnd       Kind = 'X' // a session ended
	KindDelivered Kind = 'D' // one of those who get the report of a session has it
	KindSettled   Kind = 'R' // the report of a session was delivered
	kindFile      Kind = 'F' // a file begins
)

// Record is one record of a ledger. Of Event, Start and End one is set at the most.
type Record struct {
	Kind Kind
	At   time.Time
	// SessionID is whom the record is about: a session, or the job of a Start without one. It is empty for
	// an event outside a session.
	SessionID string
	Event     metrics.Event // nil for an event of a type that this version does not know
	Start     *Start
	End       *End
	Tags      map[string]string // all tags of the session from now on, if Kind is KindTags
	Sink      string            // of KindDelivered
	Raw       json.RawMessage   // the JSON of the record
}

// Start is how a session began. Without a SessionID it is a job that began and has no session yet: the
// first session of the job takes its place.
type Start struct {
	SessionID           string
	At                  time.Time // zero means now
	JobID, RoomID, Room string
	AgentName           string
	Tags                map[string]string
}

// End is how a session ended.
type End struct {
	At     time.Time // zero means now
	Reason string
	Error  string
	// JobReason and JobError are how the job ended.
	JobReason, JobError string
}

// ID is by whose id End, Delivered and Settle know what began.
func (s *Start) ID() string { return cmp.Or(s.SessionID, s.JobID) }

// note is the JSON of every record that is no event.
type note struct {
	kind      Kind
	SessionID string            `json:"session_id,omitempty"`
	At        float64           `json:"timestamp"`
	JobID     string            `json:"job_id,omitempty"`
	RoomID    string            `json:"room_id,omitempty"`
	Room      string            `json:"room,omitempty"`
	AgentName string            `json:"agent_name,omitempty"`
	Tags      map[string]string `json:"tags,omitempty"`
	Reason    string            `json:"reason,omitempty"`
	Error     string            `json:"error,omitempty"`
	JobReason string            `json:"job_reason,omitempty"`
	JobError  string            `json:"job_error,omitempty"`
	Sink      string            `json:"sink,omitempty"`
	// Number and First are of a file: its number, and that of the oldest file with a session that was
	// not settled.
	Number int `json:"number,omitempty"`
	First  int `json:"first,omitempty"`
}

func (s *Start) note() *note {
	return &note{kind: KindStart, SessionID: s.SessionID, At: unix(orNow(s.At)), JobID: s.JobID, RoomID: s.RoomID,
		Room: s.Room, AgentName: s.AgentName, Tags: s.Tags}
}

func (e *End) note(id string) *note {
	return &note{kind: KindEnd, SessionID: id, At: unix(orNow(e.At)), Reason: e.Reason, Error: e.Error,
		JobReason: e.JobReason, JobError: e.JobError}
}

func orNow(t time.Time) time.Time {
	if t.IsZero() {
		return time.Now()
	}
	return t
}

func unix(t time.Time) float64 { return float64(t.UnixMicro()) / 1e6 }

func (n *note) at() time.Time {
	if !(math.Abs(n.At) < 9e9) || n.At == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(math.Round(n.At * 1e6))).UTC()
}

// encode appends the payload of an event or a note: a byte for its kind, and its JSON. It appends
// nothing for one that has no JSON.
func encode(b []byte, x any) []byte {
	kind := KindEvent
	if n, ok := x.(*note); ok {
		kind = n.kind
	}
	doc, err := json.Marshal(x)
	if err != nil {
		return b
	}
	return append(append(b, byte(kind)), doc...)
}

// decode reads a payload. The record keeps nothing of it.
func decode(payload []byte) (Record, *note, error) {
	r := Record{Kind: Kind(payload[0]), Raw: append(json.RawMessage(nil), payload[1:]...)}
	switch r.Kind {
	case KindEvent:
		e, err := metrics.Decode(r.Raw)
		if err != nil {
			return r, nil, err
		}
		h := e.Head()
		r.Event, r.At, r.SessionID = e, h.Timestamp, h.Tags.SessionID
		return r, nil, nil
	case KindStart, KindTags, KindEnd, KindDelivered, KindSettled, kindFile:
	default:
		return r, nil, nil
	}
	n := &note{kind: r.Kind}
	if err := json.Unmarshal(r.Raw, n); err != nil {
		return r, nil, fmt.Errorf("decoding record: %w", err)
	}
	r.At, r.SessionID = n.at(), n.SessionID
	switch r.Kind {
	case KindStart:
		r.Start = &Start{SessionID: n.SessionID, At: r.At, JobID: n.JobID, RoomID: n.RoomID, Room: n.Room,
			AgentName: n.AgentName, Tags: n.Tags}
		r.SessionID = r.Start.ID()
	case KindTags:
		r.Tags = n.Tags
	case KindEnd:
		r.End = &End{At: r.At, Reason: n.Reason, Error: n.Error, JobReason: n.JobReason, JobError: n.JobError}
	case KindDelivered:
		r.Sink = n.Sink
	}
	return r, n, nil
}
